"""What a config's AUG keys augment training clips and images by."""

from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.augment import Augmentation, ColorJitter, RandAugment, parse_rand_augment
from slowfast_mvit.data.erasing import RandomErasing
from slowfast_mvit.errors import UserError


def augmentation_of(config: Config, fill: tuple[int, int, int]) -> Augmentation | None:
    """RandAugment, else colour jitter, else nothing; ``fill`` (RGB, 0..255) stands where a warp reaches beyond the frame."""
    aug = config.AUG
    if not aug.ENABLE:
        return None
    if aug.AA_TYPE:
        try:
            policy = parse_rand_augment(aug.AA_TYPE)
        except UserError as error:
            raise UserError(f"AUG.AA_TYPE: {error}") from None
        return RandAugment(policy, fill, aug.INTERPOLATION)
    return ColorJitter(aug.COLOR_JITTER) if aug.COLOR_JITTER else None


def erasing_of(config: Config) -> RandomErasing | None:
    """Random erasing, if there is any."""
    aug = config.AUG
    return RandomErasing(aug.RE_PROB, aug.RE_COUNT, aug.RE_MODE) if aug.ENABLE and aug.RE_PROB > 0 else None


def spares_first(config: Config) -> bool:
    """Whether the first repeat of each video is left without erasing.

    That is what AUG.RE_SPLIT is documented to do in PySlowFast, where no code reads it.
    """
    return config.AUG.ENABLE and config.AUG.RE_SPLIT
