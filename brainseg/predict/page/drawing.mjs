// A slice on a canvas: grey values, probabilities over them, and the outline of the tumour.

const STOPS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]]; // inferno
const FAINT = 0.05; // probabilities below it are not shown

/**
 * @param {HTMLCanvasElement} canvas it is filled at the resolution of the screen
 * @param {object} shown `pixels`, `probability` (or null), `width`, `height`, `pixel` (mm), and
 *   `threshold`, `brightness`, `outline` (a colour or null), `opacity` (0 hides probabilities)
 */
export function draw(canvas, shown) {
  const sharp = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * sharp);
  canvas.height = Math.round(canvas.clientHeight * sharp);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const frame = place(canvas, shown);
  context.drawImage(paintGrey(shown), frame.x, frame.y, frame.width, frame.height);
  if (!shown.probability) return;
  if (shown.opacity) {
    context.globalAlpha = shown.opacity;
    context.drawImage(paintProbability(shown), frame.x, frame.y, frame.width, frame.height);
    context.globalAlpha = 1;
  }
  if (shown.outline) stroke(context, shown, frame, sharp);
}

/** Where the slice lies on the canvas, in the canvas's pixels. */
export function place(canvas, { width, height, pixel }) {
  const [wide, tall] = [width * pixel[0], height * pixel[1]];
  const scale = Math.min(canvas.width / wide, canvas.height / tall);
  const [w, h] = [wide * scale, tall * scale];
  return { x: (canvas.width - w) / 2, y: (canvas.height - h) / 2, width: w, height: h };
}

function paint({ width, height }, colour) {
  const image = new ImageData(width, height);
  const numbers = new Uint32Array(image.data.buffer);
  for (let i = 0; i < numbers.length; i++) numbers[i] = colour(i);
  const made = new OffscreenCanvas(width, height);
  made.getContext("2d").putImageData(image, 0, 0);
  return made;
}

/** Red, green, blue and opacity in the order of `ImageData`. */
function pack(r, g, b, a) {
  return new Uint32Array(Uint8ClampedArray.of(r, g, b, a).buffer)[0];
}

function paintGrey(shown) {
  const tones = Array.from({ length: 256 }, (_, value) => {
    const tone = value * shown.brightness;
    return pack(tone, tone, tone, 255);
  });
  return paint(shown, (i) => tones[shown.pixels[i]]);
}

const TONES = Array.from({ length: 256 }, (_, step) => {
  const at = (step / 255) * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2);
  const mixed = STOPS[low].map((value, c) => value + (STOPS[low + 1][c] - value) * (at - low));
  return pack(...mixed, step < 255 * FAINT ? 0 : 255 * Math.min(1, (1.5 * step) / 255));
});

function paintProbability(shown) {
  return paint(shown, (i) => TONES[Math.round(255 * shown.probability[i])]);
}

function stroke(context, shown, frame, sharp) {
  const path = new Path2D();
  const matrix = new DOMMatrix([
    frame.width / shown.width, 0, 0, frame.height / shown.height, frame.x, frame.y,
  ]);
  path.addPath(trace(shown), matrix);
  context.lineCap = context.lineJoin = "round";
  for (const [width, colour] of [[4.5, "#000a"], [2, shown.outline]]) {
    context.lineWidth = width * sharp;
    context.strokeStyle = colour;
    context.stroke(path);
  }
}

/** For each cell of four pixels, by which of them are tumour: edges that a line joins. */
const [TOP, RIGHT, BOTTOM, LEFT] = [0, 1, 2, 3];
const JOINED = [
  [], [[LEFT, TOP]], [[TOP, RIGHT]], [[LEFT, RIGHT]], [[RIGHT, BOTTOM]], [[LEFT, TOP], [RIGHT, BOTTOM]],
  [[TOP, BOTTOM]], [[LEFT, BOTTOM]], [[BOTTOM, LEFT]], [[TOP, BOTTOM]], [[TOP, RIGHT], [BOTTOM, LEFT]],
  [[RIGHT, BOTTOM]], [[LEFT, RIGHT]], [[TOP, RIGHT]], [[LEFT, TOP]], [],
];

/** Where the probability crosses the threshold (marching squares), in pixels of the slice. */
function trace({ probability, width, height, threshold }) {
  const path = new Path2D();
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : probability[y * width + x]);
  const crossing = (a, b) => Math.min(Math.max((threshold - a) / (b - a), 0), 1);
  for (let y = -1; y < height; y++) {
    let [a, d] = [0, 0];
    for (let x = -1; x < width; x++) {
      const b = at(x + 1, y);
      const c = at(x + 1, y + 1);
      const kind = Number(a >= threshold) + 2 * Number(b >= threshold)
        + 4 * Number(c >= threshold) + 8 * Number(d >= threshold);
      for (const edges of JOINED[kind]) {
        const [from, to] = edges.map((edge) => {
          if (edge === TOP) return [x + crossing(a, b), y];
          if (edge === RIGHT) return [x + 1, y + crossing(b, c)];
          if (edge === BOTTOM) return [x + crossing(d, c), y + 1];
          return [x, y + crossing(a, d)];
        });
        path.moveTo(from[0] + 0.5, from[1] + 0.5);
        path.lineTo(to[0] + 0.5, to[1] + 0.5);
      }
      [a, d] = [b, c];
    }
  }
  return path;
}
