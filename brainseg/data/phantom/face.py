"""What lies outside the skull: the outline of face and neck, and the parts in them.

Positions are MNI coordinates in mm, of an average head. Shapes off the midline count for both
sides.
"""

from functools import cache

from scipy import ndimage

from brainseg.data.phantom.field import Ellipsoid, Shape, Tube, Volume, mirrored, path, union

LOW, HIGH = (-100.0, -140.0, -182.0), (100.0, 130.0, 60.0)  # what volumes cover, mm

PARTS: dict[str, list[Shape]] = {
    "body": [
        Ellipsoid((0, 30, -62), (66, 58, 58)),  # face
        Ellipsoid((0, -4, -92), (67, 62, 62)),
        Ellipsoid((0, 38, -114), (54, 56, 38)),  # jaw
        Ellipsoid((0, 90, -64), (11, 10, 26)),  # bridge of the nose
        Ellipsoid((0, 95, -76), (16, 14, 11)),  # its tip
        Ellipsoid((0, 82, -106), (26, 14, 16)),  # lips
        Ellipsoid((0, 78, -130), (24, 15, 14)),  # chin
        Ellipsoid((0, -36, -140), (64, 66, 130)),  # neck
        Ellipsoid((78, -30, -42), (5, 13, 20)),  # ears
    ],
    "fat": [
        Ellipsoid((29, 48, -41), (15, 27, 15)),  # orbits
        Ellipsoid((45, 55, -84), (8, 16, 14)),  # cheeks
        Ellipsoid((27, 8, -88), (6, 9, 16)),  # beside the throat
        Ellipsoid((0, -92, -100), (22, 14, 40)),  # nape
    ],
    "muscle": [
        Ellipsoid((0, 46, -112), (24, 32, 16)),  # tongue
        Ellipsoid((57, 36, -98), (7, 15, 24)),  # masseter
        Ellipsoid((36, 22, -80), (8, 14, 18)),  # pterygoids
        Ellipsoid((62, 16, -34), (7, 27, 26)),  # temporal
        Ellipsoid((13, -66, -112), (11, 14, 52)),  # deep ones of the nape
        Ellipsoid((36, -62, -112), (13, 14, 46)),
        Ellipsoid((50, -32, -130), (9, 15, 60)),  # sternocleidomastoid
        *path(2.0, (32, 52, -41), (22, 30, -38), (10, 16, -30)),  # optic nerve
        *path(1.6, (20, 66, -41), (17, 45, -41), (18, 26, -38)),  # of the eyes
        *path(1.6, (43, 66, -41), (40, 48, -41), (22, 26, -38)),
        *path(1.6, (32, 64, -29), (30, 45, -29), (20, 26, -36)),
        *path(1.6, (32, 64, -53), (30, 45, -52), (20, 26, -40)),
    ],
    "bone": [
        *path(6.5, (0, -5, -42), (0, -22, -64)),  # clivus
        *path(5.0, (0, 88, -128), (14, 82, -128), (40, 50, -118), (46, 30, -112)),  # mandible
        *path(4.5, (46, 28, -110), (50, 10, -62)),
        *path(3.5, (44, 62, -62), (60, 44, -58), (64, 16, -52)),  # cheekbone
        *path(3.0, (42, 60, -30), (40, 45, -40), (24, 24, -38)),  # outer wall of the orbit
        Ellipsoid((0, 56, -90), (22, 28, 3)),  # palate
        Ellipsoid((0, 80, -94), (18, 7, 6)),
        *path(6.5, (0, -26, -78), (0, -27, -102)),  # second vertebra, and on down
        *(Ellipsoid((0, y, z), (12, 10, 8)) for y, z in ((-26, -118), (-24, -136), (-22, -154))),
        *(Ellipsoid((0, -72, z), (3.5, 12, 5)) for z in (-104, -122, -140, -158)),
        Ellipsoid((22, -32, -76), (10, 9, 8)),  # first vertebra
        *(Ellipsoid((20, -36, z), (7, 7, 7)) for z in (-96, -114, -132, -150)),
    ],
    "dense": [  # no marrow that could be seen
        *path(7.0, (18, -18, -44), (34, -26, -44), (52, -34, -44)),  # petrous bones
        Ellipsoid((52, -42, -54), (8, 9, 14)),  # mastoid
        Ellipsoid((13, 84, -104), (9, 4, 12)),  # teeth
        Ellipsoid((24, 68, -104), (5, 16, 11)),
        Tube((62, -24, -44), (84, -26, -44), 3.0),  # ear canal
    ],
    "air": [
        Ellipsoid((6, 21, -44), (9, 14, 10)),  # sphenoid sinus
        *(Ellipsoid((6, y, -47), (4.5, 5, 8)) for y in (40, 51, 62)),  # ethmoid cells
        Ellipsoid((9, 79, -32), (8, 3.5, 9)),  # frontal sinus
        Ellipsoid((28, 52, -70), (11, 15, 14)),  # maxillary sinus
        Ellipsoid((3.5, 52, -74), (2.2, 34, 13)),  # nose
        Ellipsoid((10, 48, -80), (2.5, 28, 6)),
        Ellipsoid((5, 90, -80), (4, 10, 4)),  # nostrils
        Ellipsoid((0, 8, -76), (11, 8, 12)),  # throat
        Ellipsoid((0, 2, -106), (9, 6, 24)),
        Ellipsoid((0, 14, -160), (9, 8, 40)),
        Ellipsoid((0, 66, -94), (16, 16, 2)),  # mouth
    ],
    "mucosa": [
        Ellipsoid((7, 50, -82), (3, 24, 4)),  # turbinates
        Ellipsoid((7, 48, -68), (2.2, 20, 4)),
        Ellipsoid((0, -2, -70), (14, 4, 9)),  # adenoids
        Ellipsoid((58, -2, -92), (7, 12, 18)),  # parotid glands
        Ellipsoid((28, 30, -124), (7, 12, 8)),  # submandibular glands
        Ellipsoid((44, 62, -32), (4, 5, 5)),  # lacrimal glands
    ],
    "eye": [Ellipsoid((32, 64, -41), (12, 12, 12))],
    "lens": [Ellipsoid((32, 73, -41), (4.5, 2.2, 4.5))],
}


@cache
def face() -> dict[str, Volume]:
    """Sample the distance (mm, positive inside) of each of `PARTS`."""
    volumes = {name: union(mirrored(shapes), LOW, HIGH, 2.0) for name, shapes in PARTS.items()}
    body = volumes["body"]
    rounded = ndimage.gaussian_filter(body.values, 2.0)  # joins its parts
    return volumes | {"body": Volume(rounded, body.spacing, body.origin)}
