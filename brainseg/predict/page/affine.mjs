// Where the axes of a volume point, and its slices as a radiologist sees them.

/** Axis, among right, anterior and superior, that a slice of a plane lies across. */
export const PLANES = { axial: 2, coronal: 1, sagittal: 0 };
const LETTERS = [["L", "R"], ["P", "A"], ["I", "S"]];

/**
 * What nibabel's `io_orientation` finds.
 * @param {number[][]} affine 3 rows of 4
 * @returns {{axis: number, flipped: boolean}[]} for each axis of the file, the one among right,
 *   anterior and superior that it is nearest to, and whether it runs against it
 */
export function orient(affine) {
  const columns = [0, 1, 2].map((c) => affine.map((row) => row[c]));
  const unit = columns.map((column) => column.map((value) => value / Math.hypot(...column)));
  const nearest = polar([0, 1, 2].map((r) => unit.map((column) => column[r])));
  const strength = (c) => Math.max(...nearest.map((row) => Math.abs(row[c])));
  const free = new Set([0, 1, 2]);
  const found = [];
  for (const c of [0, 1, 2].sort((a, b) => strength(b) - strength(a))) {
    const axis = [...free].reduce((best, each) => (
      Math.abs(nearest[each][c]) > Math.abs(nearest[best][c]) ? each : best));
    free.delete(axis);
    found[c] = { axis, flipped: nearest[axis][c] < 0 };
  }
  return found;
}

/** The nearest orthogonal matrix, by Newton's iteration (Higham 1986). */
function polar(matrix) {
  let found = matrix;
  for (let i = 0; i < 40; i++) {
    const opposite = inverseTransposed(found);
    found = found.map((row, r) => row.map((value, c) => (value + opposite[r][c]) / 2));
  }
  return found;
}

function inverseTransposed(m) {
  const minor = (r, c) => {
    const [a, b] = [0, 1, 2].filter((each) => each !== r);
    const [d, e] = [0, 1, 2].filter((each) => each !== c);
    return (m[a][d] * m[b][e] - m[a][e] * m[b][d]) * ((r + c) % 2 ? -1 : 1);
  };
  const whole = determinant(m);
  return m.map((row, r) => row.map((_, c) => minor(r, c) / whole));
}

export function determinant(m) {
  return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
    - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
    + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

/** Letters of the directions in which the axes of a file run, such as RAS. */
export function letters(axes) {
  return axes.map(({ axis, flipped }) => LETTERS[axis][Number(!flipped)]).join("");
}

/**
 * How the slices of a plane lie in a file, whose first axis runs fastest.
 * @param {number[]} shape of the file
 * @param {{axis, flipped}[]} axes from `orient`
 * @param {string} plane of `PLANES`
 * @param {number[]} spacing of the file's axes, mm
 */
export function cut(shape, axes, plane, spacing) {
  const across = PLANES[plane];
  const [columns, rows] = [0, 1, 2].filter((axis) => axis !== across);
  const steps = [1, shape[0], shape[0] * shape[1]];
  const along = (wanted) => {
    const own = axes.findIndex(({ axis }) => axis === wanted);
    const { flipped } = axes[own];
    return { count: shape[own], step: steps[own], flipped, mm: spacing[own] };
  };
  // Rows and columns run against their axes: right is left, anterior or superior is up.
  const backwards = (axis) => ({ ...axis, flipped: !axis.flipped });
  const [x, y, z] = [backwards(along(columns)), backwards(along(rows)), along(across)];
  const start = [x, y, z].reduce((sum, { flipped, count, step }) => (
    sum + (flipped ? (count - 1) * step : 0)), 0);
  const signed = ({ flipped, step }) => (flipped ? -step : step);
  return {
    width: x.count, height: y.count, count: z.count,
    pixel: [x.mm, y.mm], thickness: z.mm,
    edges: { left: LETTERS[columns][1], right: LETTERS[columns][0], top: LETTERS[rows][1], bottom: LETTERS[rows][0] },
    /** Place in the file of a pixel of a slice. */
    place: (slice, row, column) => start + slice * signed(z) + row * signed(y) + column * signed(x),
  };
}

/** The pixels of slice `slice`. */
export function takeSlice(values, cuts, slice) {
  const made = new values.constructor(cuts.width * cuts.height);
  for (let row = 0, to = 0; row < cuts.height; row++) {
    for (let column = 0; column < cuts.width; column++, to++) {
      made[to] = values[cuts.place(slice, row, column)];
    }
  }
  return made;
}

/** Put the pixels of slice `slice` back to where `takeSlice` found them. */
export function putSlice(pixels, values, cuts, slice) {
  for (let row = 0, from = 0; row < cuts.height; row++) {
    for (let column = 0; column < cuts.width; column++, from++) {
      values[cuts.place(slice, row, column)] = pixels[from];
    }
  }
}
