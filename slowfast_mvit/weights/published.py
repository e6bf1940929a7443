"""What is known of one published file of weights."""

from dataclasses import dataclass

from slowfast_mvit.weights.fetch import hash_in_name

Triple = tuple[float, float, float]
Accuracy = tuple[float, float | None]


@dataclass(frozen=True)
class Published:
    """One published file of weights.

    Attributes:
        model: name of the model that takes it, one of :func:`slowfast_mvit.list_models`.
        tag: name of the file among those of its model: ``create_model(model, pretrained=tag)``.
        url: where it lies; None where its publisher gives no plain address.
        publisher: whose file it is.
        dataset: what it was trained on last.
        num_classes: width of its head; None where it holds none, or none that is known of.
        accuracy: top-1 and top-5 in percent, as published; None where nothing was published.
        protocol: how the accuracy was measured, or what the file is good for.
        num_frames: frames of the clips it was trained on; None for images.
        crop_size: side of its crops in pixels.
        mean, std: its normalisation, of RGB values from 0 to 1.
        switches: further arguments of ``create_model`` that the file's architecture needs.
        unsupported: why the tag cannot be used, and what to do; empty where it can.
    """

    model: str
    tag: str
    url: str | None
    publisher: str
    dataset: str
    num_classes: int | None
    accuracy: Accuracy | None
    protocol: str
    num_frames: int | None
    crop_size: int
    mean: Triple
    std: Triple
    switches: tuple[tuple[str, object], ...] = ()
    unsupported: str = ""

    @property
    def supported(self) -> bool:
        """Whether ``create_model`` loads it by its tag."""
        return not self.unsupported

    @property
    def name_hash(self) -> tuple[str, str] | None:
        """Algorithm and first digits of the hash in the file's name, which a download must have; None without one."""
        return None if self.url is None else hash_in_name(self.url.rsplit("/", 1)[-1])

    def __str__(self) -> str:
        figures = " / ".join(f"{figure:.1f}" for figure in self.accuracy or () if figure is not None)
        text = f"{self.model} {self.tag}: {self.dataset}, {f'{figures} at ' if figures else ''}{self.protocol}"
        return text if self.supported else f"{text} (not loaded by its tag: {self.unsupported})"
