"""The config's section about COCO: its files, and how its images are resized and cropped."""

from dataclasses import dataclass

from slowfast_mvit.config.keys import key


@dataclass(frozen=True)
class Coco:
    """COCO's files under DATA.PATH_TO_DATA_DIR, or one's own in its format, and the sizes of its images (ours)."""

    TRAIN_IMAGES: str = key("train2017", "Folder of the training images")
    TRAIN_ANNOTATIONS: str = key("annotations/instances_train2017.json", "Objects in them, in COCO's format")
    VAL_IMAGES: str = key("val2017", "Folder of the images of validation and test")
    VAL_ANNOTATIONS: str = key(
        "annotations/instances_val2017.json",
        "Objects in them; a file without annotations, as COCO's image_info_test-dev2017.json, is tested and not scored",
    )
    TRAIN_SHORT_SIDES: tuple[int, ...] = key(
        (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800),
        "Short sides that a training image is resized to, each as often",
        at_least=1,
    )
    MAX_SIDE: int = key(1333, "Greatest long side of a training image; the short one then is less", at_least=1)
    CROP_PROB: float = key(
        0.5,
        "Share of the training images that are cropped first, by CROP_SHORT_SIDES and CROP_SIDES",
        at_least=0,
        at_most=1,
    )
    CROP_SHORT_SIDES: tuple[int, ...] = key(
        (400, 500, 600), "Short sides of the image that is cropped, each as often", at_least=1
    )
    CROP_SIDES: tuple[int, ...] = key(
        (384, 600), "Least and greatest side of that crop, drawn for height and width", at_least=1, lengths=(2,)
    )
    JITTER_SCALES: tuple[float, ...] = key(
        (),
        "Large-scale jitter in place of short sides and crops: least and greatest factor of JITTER_SIZE that an image is "
        "fitted into, as 0.1 and 2.0; empty: none",
        above=0,
        lengths=(0, 2),
    )
    JITTER_SIZE: int = key(1024, "Side of the square that large-scale jitter crops or fills up to", at_least=1)
    TEST_SHORT_SIDES: tuple[int, ...] = key(
        (800,), "Short sides of a test image, each a view of it; more than one is multi-scale testing", at_least=1
    )
    TEST_MAX_SIDE: int = key(1333, "Greatest long side of a test image", at_least=1)
    TEST_FLIP: bool = key(False, "Test every view mirrored too")
