// Colours a grey spectrogram picture for a dark or a light background.
const DARK = [[13, 10, 28], [60, 15, 92], [136, 34, 106], [203, 65, 73], [246, 130, 35], [251, 205, 75], [252, 255, 200]];
const LIGHT = [[252, 252, 253], [214, 226, 240], [150, 187, 220], [75, 133, 190], [30, 80, 145], [12, 36, 84], [6, 14, 40]];

function tinted(picture, dark) { // grey values -> the colours of the theme
  const canvas = document.createElement("canvas"), stops = dark ? DARK : LIGHT, table = [];
  for (let k = 0; k < 256; k++) {
    const place = (k / 255) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(place));
    table.push(stops[low].map((value, part) => value + (stops[low + 1][part] - value) * (place - low)));
  }
  canvas.width = picture.naturalWidth;
  canvas.height = picture.naturalHeight;
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  const cells = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let k = 0; k < cells.data.length; k += 4) cells.data.set(table[cells.data[k]], k);
  pen.putImageData(cells, 0, 0);
  return canvas;
}
