"""The anatomy of a head: the ICBM152 brain, and a drawn skull, scalp, face and neck around it.

The templates are those that the package `nilearn` ships, so nothing is downloaded.
Points are MNI coordinates in mm, of shape 3×….
"""

from functools import cache

import numpy as np
from scipy import ndimage

from brainseg.data.phantom.face import face
from brainseg.data.phantom.field import Array, Field, Volume, blend, inside, sheet
from brainseg.data.phantom.vessels import falx, tentorium, vessels


@cache
def templates() -> dict[str, Volume]:
    """Load `gray`, `white` (shares), `depth` (mm below the brain's surface) and `vessels` (mm)."""
    from nilearn import datasets  # takes seconds to import; an existing data set does not need it

    def volume(name: str, resolution: int) -> Volume:
        image = getattr(datasets, f"load_mni152_{name}")(resolution=resolution)
        return Volume(image.get_fdata(dtype=np.float32), resolution, image.affine[:3, 3])

    mask = volume("brain_mask", 2)
    near = ndimage.distance_transform_edt(mask.values == 0) <= 5  # closes sulci and fissures
    brain = ndimage.distance_transform_edt(near) > 5
    signed = ndimage.distance_transform_edt(brain) - ndimage.distance_transform_edt(~brain)
    signed = ndimage.gaussian_filter(2.0 * signed, 1.0)
    depth = Volume(signed.astype(np.float32), mask.spacing, mask.origin)
    return {
        "gray": volume("gm_template", 1),
        "white": volume("wm_template", 1),
        "depth": depth,
        "vessels": vessels(depth),
    }


def skin_depth(points: Array, depth: Array) -> Array:
    """Depth in mm below the skin, `depth` mm below the brain's surface."""
    return 4 * np.logaddexp((depth + 14) / 4, face()["body"].at(points) / 4)


def paint_flesh(points: Array, skin: Array, tissue: dict[str, float], texture: Array) -> Array:
    """Draw scalp, face and neck as if there were no skull."""
    part = {name: volume.at(points) for name, volume in face().items() if name != "body"}
    muscle = tissue["muscle"] * (1 + 0.15 * texture)
    planes = sheet(texture - 0.5, 1.0)  # of fat between muscles
    image = blend(muscle, tissue["fat"], 0.3 * planes)
    image = blend(image, 0.7 * tissue["fat"] * (1 + 0.1 * texture), inside(part["fat"]))
    image = blend(image, muscle, inside(part["muscle"]))
    image = blend(image, tissue["mucosa"], inside(part["mucosa"] + 0.5 * texture))
    image = blend(image, tissue["bone"], inside(np.maximum(part["bone"], part["dense"])))
    image = blend(image, tissue["marrow"] * (1 + 0.15 * texture), inside(part["bone"] - 1.5))
    cavity = part["air"] + 0.8 * texture
    image = blend(image, tissue["mucosa"], 0.7 * sheet(cavity + 1, 2.5))
    image = blend(image, tissue["air"], inside(cavity))
    image = blend(image, tissue["muscle"], inside(part["eye"]))
    image = blend(image, tissue["fluid"], inside(part["eye"] - 1.5))
    image = blend(image, tissue["muscle"], inside(part["lens"]))
    under = 4.0 + texture + 2.0 * inside(-70 - points[2], 60.0)  # mm of fat under the skin
    image = blend(tissue["fat"] * (0.9 + 0.1 * texture), image, inside(skin - under - 1.5))
    image = blend(0.6 * tissue["fat"], image, inside(skin - 1.5, 1.5))
    return image * inside(skin)


def paint_skull(image: Array, depth: Array, tissue: dict[str, float], texture: Array) -> Array:
    """Draw the skull, two dark tables with marrow between them, and the dura over `image`."""
    image = blend(image, tissue["bone"], inside(depth + 8.5, 1.5))
    diploe = sheet(depth + 5.2 + 0.4 * texture, 2.8)
    image = blend(image, tissue["marrow"], diploe * np.clip(0.7 + 0.3 * texture, 0, 1))
    dura = sheet(depth + 1.8, 1.3) * np.clip(0.5 + 0.25 * texture, 0, 1)
    return blend(image, tissue["dura"], dura)


def paint_brain(points: Array, depth: Array, tissue: dict[str, float], texture: Array) -> Array:
    """Draw white and grey matter, fluid, and what takes up contrast agent between them."""
    brain = templates()
    white, gray = brain["white"].at(points), brain["gray"].at(points)
    fluid = np.clip(tissue["sulci"] * (1 - white - gray), 0, 1)
    white = np.clip(0.5 + 1.6 * (white - 0.5), 0, 1)
    matter = tissue["gray"] + (tissue["white"] - tissue["gray"]) * white
    image = blend(matter * (1 + 0.015 * texture), tissue["fluid"], fluid)
    veins = fluid * inside(25 - depth, 10.0) * inside(texture - 1.0, 0.6)
    image = blend(image, tissue["vessel"], 0.7 * veins)
    membranes = np.maximum(sheet(falx(points), 1.5), 0.7 * sheet(tentorium(points), 1.5))
    return blend(image, tissue["dura"], 0.6 * membranes * inside(depth))


def paint_head(
    points: Array, inner: Array, depth: Array, tissue: dict[str, float], texture: Field
) -> Array:
    """Draw the head without a tumour, noise or bias (H×W, in [0, 1]).

    Args:
        points: 3×H×W, the pixels' MNI coordinates in mm.
        inner: the same for the brain, which a tumour may have pushed aside.
        depth: H×W, mm below the brain's surface.
        tissue: brightness in [0, 1] of each tissue.
        texture: of the flesh, the marrow and the small veins.
    """
    skin = skin_depth(points, depth)
    image, grain = np.zeros_like(depth), np.zeros_like(depth)
    head, cover, brain = skin > -2, (skin > -2) & (depth < 1), depth > -2
    grain[head] = texture(points[:, head])
    strands = texture(points[:, cover] * [[1.0], [1.0], [0.45]])  # muscles run up and down
    flesh = paint_flesh(points[:, cover], skin[cover], tissue, strands)
    image[cover] = paint_skull(flesh, depth[cover], tissue, grain[cover])
    matter = paint_brain(inner[:, brain], depth[brain], tissue, grain[brain])
    image[brain] = blend(image[brain], matter, inside(depth[brain] + 1, 1.5))
    vessel = inside(templates()["vessels"].at(inner[:, head]), 1.5)
    image[head] = blend(image[head], tissue["vessel"] * (1 + 0.1 * grain[head]), vessel)
    return image
