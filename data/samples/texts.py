"""What the voices say: short sentences and word lists in several languages, written for this project.

Commas and full stops inside a text give pauses of different length; `synthesis` finds them in the sound.
"""

from __future__ import annotations

TEXTS: dict[str, tuple[str, ...]] = {
    "en": (
        "The kettle is on, so take your coat off and stay a while.",
        "Seven, eleven, nineteen, forty-two.",
        "Nobody told the cat that the sofa was new.",
        "We left before the rain. It found us anyway.",
        "Turn right after the bridge, and then look for a green door.",
        "How far is it to the harbour?",
        "My sister keeps bees behind the old garage.",
        "Copper, walnut, linen, glass.",
        "Please leave the parcel with the neighbour on the second floor.",
        "I counted the stairs twice. There are ninety-one of them.",
        "That was the last train. Shall we walk?",
        "Fresh bread at six, fish at eight, and gossip all day long.",
        "Stop.",
        "The map is older than the road it shows.",
        "Could you hold the ladder while I change this lamp?",
        "Monday is fine for me. Thursday is better.",
        "She whistled once, and the whole orchard went quiet.",
        "Put the blue one on top of the yellow one.",
        "Yes, of course.",
        "A small engine, a long hill, and a very patient driver.",
        "Your table will be ready in about ten minutes.",
        "North, north-east, east. Hold that course.",
    ),
    "de": (
        "Der Schlüssel liegt unter dem dritten Blumentopf.",
        "Morgen früh fahren wir mit dem Rad zum See.",
        "Wo ist denn hier der Ausgang?",
        "Apfel, Birne, Pflaume, Kirsche.",
        "Das Fenster klemmt. Hol bitte einen Hammer.",
        "Am Abend wurde es still im ganzen Dorf.",
    ),
    "fr": (
        "Le marché ferme à midi, dépêchons-nous.",
        "Il y a deux chaises de trop autour de cette table.",
        "Rouge, orange, jaune, vert.",
        "Attends-moi. J'ai oublié mes lunettes.",
        "Qui a laissé la lumière allumée dans la cave ?",
    ),
    "es": (
        "La abuela guarda las cartas en una caja de madera.",
        "¿Quién quiere otra taza de chocolate?",
        "Lunes, miércoles, viernes y domingo.",
        "El perro duerme. No hagas ruido.",
        "Mañana pintamos la puerta de azul.",
    ),
    "it": (
        "Il treno per il mare parte dal binario nove.",
        "Sale, pepe, olio e limone.",
        "Chiudi la finestra, per favore. Fa freddo.",
        "Ho trovato una moneta sotto il tappeto.",
    ),
    "pt": (
        "O barco volta quando a maré subir.",
        "Quantas laranjas cabem neste cesto?",
        "Um, três, cinco, sete.",
    ),
    "nl": (
        "De molen draait alleen als het hard waait.",
        "Kun je morgen even op de kinderen passen?",
        "Brood, kaas, melk en een halve meloen.",
    ),
    "sv": (
        "Vi plockade svamp tills det blev mörkt.",
        "Nyckeln passar inte. Prova den andra.",
    ),
    "fi": (
        "Järvi on jäässä vielä huhtikuussa.",
        "Yksi, kaksi, kolme, neljä.",
    ),
    "pl": (
        "Babcia upiekła ciasto z jabłkami i cynamonem.",
        "Gdzie jest najbliższy przystanek?",
        "Zamknij drzwi. Wieje od rana.",
    ),
    "cs": (
        "Na půdě jsme našli starou mapu.",
        "Pondělí, úterý, středa, čtvrtek.",
    ),
    "ro": (
        "Lângă fântână crește un nuc bătrân.",
        "Ce facem dacă plouă sâmbătă?",
    ),
    "hu": (
        "A macska megint a könyvespolcon alszik.",
        "Holnap korán kelünk. Jó éjszakát.",
    ),
    "tr": (
        "Çay hazır, bardakları getirir misin?",
        "Vapur yarım saat sonra kalkıyor.",
    ),
    "ru": (
        "За рекой начинается старый сосновый лес.",
        "Сколько стоит эта корзина яблок?",
    ),
    "el": (
        "Το καράβι φεύγει το πρωί στις επτά.",
        "Ψωμί, ελιές, τυρί και μέλι.",
    ),
    "id": (
        "Warung di ujung jalan itu buka sampai malam.",
        "Tolong ambilkan payung di belakang pintu.",
    ),
    "sw": (
        "Watoto wanacheza mpira nyuma ya shule.",
        "Maji, moto, upepo, mvua.",
    ),
}
"""Language code of espeak-ng -> texts."""
