"""Where a model looks in a video or an image, drawn on it: attention rollout and Grad-CAM.

A video is covered by clips, of which the model sees the middle of each frame; a frame of the video shows the map of the nearest
frame of a clip. Letters: K clips, T their frames, h, w the model's input in pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from slowfast_mvit.build.given_model import GivenModel, check_mvit
from slowfast_mvit.data.boxes_on_video import write_drawn
from slowfast_mvit.data.clips import ClipSampling
from slowfast_mvit.data.contact_sheet import SheetRow, contact_sheet
from slowfast_mvit.data.heat import heat_on_frame
from slowfast_mvit.data.images import read_image
from slowfast_mvit.data.transforms import frames_to_tensor
from slowfast_mvit.data.video import VideoReader, open_video
from slowfast_mvit.errors import UserError, check_output, closest
from slowfast_mvit.models.attribution import grad_cam, rollout, to_input_size
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.ops.spatial import CropBox, normalize
from slowfast_mvit.ops.temporal import clip_span, nearest_frames

_ON_SHEET = 6  # frames of a video
METHODS = {"rollout": "attention rollout", "grad_cam": "Grad-CAM"}


@dataclass(frozen=True)
class Seen:
    """What the model was shown, and where it looked.

    Attributes:
        crop: part of a frame that was seen, in its pixels.
        maps: for each of ``METHODS`` [K, *grid] in 0 .. 1, 1 the highest of the whole video.
        scores: float32 [classes]; mean over the clips.
        explained: the class that Grad-CAM is of.
    """

    crop: CropBox
    maps: Mapping[str, Tensor]
    scores: np.ndarray
    explained: int


def visualize(
    source: Path, given: GivenModel, output: Path, *, of_class: str = "", block: int | None = None
) -> dict[Path, str]:
    """Write the video or image with each map on it, and a sheet of frames; returns the files with what they hold.

    They are ``NAME_rollout`` and ``NAME_grad_cam``, .mp4 or .png, and ``NAME_maps.png``.

    Args:
        source: a video, or for a model for images an image.
        given: the model.
        output: a folder.
        of_class: name or number of the class that Grad-CAM explains; by default the one that scores highest.
        block: whose tokens Grad-CAM is on, see :func:`slowfast_mvit.models.attribution.grad_cam`.

    Raises:
        UserError: the model is no MViT, or has no such class or block; the folder cannot be written.
        VideoError: the video or image cannot be read.
    """
    model = check_mvit(given, "a picture of where a model looks")
    check_output(output, "--output", folder=True)
    wanted = _class_of(of_class, given, model.num_classes) if of_class else None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    look = _Look(model.to(device), given, device, wanted, block)
    try:
        output.mkdir(parents=True, exist_ok=True)
        draw = _draw_video if given.is_video else _draw_image
        return draw(source, look, output)
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({error.strerror or error}): give --output another place"
        ) from error


@dataclass(frozen=True)
class _Look:
    """A model, and what is asked of it."""

    model: MViT
    given: GivenModel
    device: torch.device
    wanted: int | None
    block: int | None

    def at(self, clips: Callable[[], Iterable[Tensor]], crop: CropBox) -> Seen:
        """What the model makes of clips uint8 [T, 3, h, w], which are asked for twice: those of a long video are not kept."""
        rolled, logits = [], []
        for clip in clips():
            x = self._input(clip)
            rolled.append(rollout(self.model, x).cpu())
            if self.wanted is None:
                with torch.no_grad():
                    logits.append(self.model(x))
        explained = self.wanted
        if explained is None:  # one class for the whole video
            explained = int(_scores(torch.cat(logits), self.given.activation).argmax())
        classes = torch.tensor([explained], device=self.device)
        cams = [grad_cam(self.model, self._input(clip), classes, self.block) for clip in clips()]
        scores = _scores(torch.cat([cam.logits for cam in cams]), self.given.activation)
        maps = {"rollout": torch.cat(rolled), "grad_cam": torch.cat([cam.maps for cam in cams]).cpu()}
        highest = {name: of.max().clamp(min=torch.finfo(of.dtype).tiny) for name, of in maps.items()}
        return Seen(crop, {name: of / highest[name] for name, of in maps.items()}, scores.cpu().numpy(), explained)

    def _input(self, clip: Tensor) -> Tensor:
        x = normalize(clip.to(self.device), self.given.mean, self.given.std).movedim(0, 1)[None]
        return x if self.given.is_video else x[:, :, 0]


class _Heat:
    """Maps [K, *grid] frame by frame; those of the clip asked for last are kept at the crop's size."""

    def __init__(self, maps: Tensor, num_frames: int, crop: CropBox) -> None:
        self.maps, self.num_frames, self.crop = maps, num_frames, crop
        self._clip, self._frames = -1, np.empty(0)

    def at(self, frame: int) -> np.ndarray:
        """float32 [crop.height, crop.width] of one of the K * T frames."""
        clip, place = divmod(frame, self.num_frames)
        if clip != self._clip:
            frames = () if self.maps.dim() == 3 else (self.num_frames,)
            grown = to_input_size(self.maps[clip : clip + 1], (*frames, self.crop.height, self.crop.width))
            self._clip, self._frames = clip, grown.reshape(self.num_frames, self.crop.height, -1).numpy()
        return self._frames[place]


def _draw_video(source: Path, look: _Look, output: Path) -> dict[Path, str]:
    size = look.given.size[1:]
    with open_video(source) as reader:
        crop = middle_crop(reader.height, reader.width, *size)
        places = covering_clips(look.given, reader)
        seen = look.at(lambda: _clips(reader, places, crop, size), crop)
        times, order = reader.timestamps(), np.argsort(places, axis=None, kind="stable")
        nearest = order[nearest_frames(places.flatten()[order], np.arange(reader.num_frames))]
        files = {}
        for method, title in METHODS.items():
            heat, path = _Heat(seen.maps[method], places.shape[1], crop), output / f"{source.stem}_{method}.mp4"

            def drawn(second: float, frame: np.ndarray, heat: _Heat = heat) -> np.ndarray:
                return heat_on_frame(frame, heat.at(nearest[np.searchsorted(times, second)]), crop)

            files[path] = f"{write_drawn(reader, drawn, path)} frames with {title}"
        shown = np.linspace(0, reader.num_frames - 1, min(_ON_SHEET, reader.num_frames)).round().astype(int)
        pictures = reader.frames_at(shown)
    columns = [f"{times[place]:.2f} s" for place in shown]
    return files | _sheet(source, look, seen, pictures, nearest[shown].tolist(), columns, output)


def _draw_image(source: Path, look: _Look, output: Path) -> dict[Path, str]:
    picture = np.array(read_image(str(source)))[None]
    crop = middle_crop(*picture.shape[1:3], *look.given.size)
    seen = look.at(lambda: [_fit(frames_to_tensor(picture), crop, look.given.size)], crop)
    files = {}
    for method, title in METHODS.items():
        path = output / f"{source.stem}_{method}.png"
        Image.fromarray(heat_on_frame(picture[0], _Heat(seen.maps[method], 1, crop).at(0), crop)).save(path)
        files[path] = f"the image with {title}"
    return files | _sheet(source, look, seen, picture, [0], ["image"], output)


def _sheet(
    source: Path, look: _Look, seen: Seen, pictures: np.ndarray, rows: list[int], columns: list[str], output: Path
) -> dict[Path, str]:
    """Frames [n, H, W, 3] without a map and with each, ``rows`` the frame of the clips that each shows."""
    given, best = look.given, np.argsort(-seen.scores, kind="stable")[:3].tolist()
    about = {
        "rollout": "of what the classifier reads",
        "grad_cam": f"of {_name(given, seen.explained)}",
    }
    sheet_rows = [SheetRow(pictures, "input", tuple(f"{seen.scores[n]:.3f} {_name(given, n)}" for n in best))]
    for method, title in METHODS.items():
        heat = _Heat(seen.maps[method], given.size[0] if given.is_video else 1, seen.crop)
        drawn = [heat_on_frame(frame, heat.at(row), seen.crop) for frame, row in zip(pictures, rows, strict=True)]
        sheet_rows.append(SheetRow(np.stack(drawn), title, (about[method],)))
    path = output / f"{source.stem}_maps.png"
    contact_sheet(f"{source.name} by {given.name}", columns, sheet_rows).save(path)
    return {path: f"{len(pictures)} {'frames' if given.is_video else 'image'} beside both"}


def middle_crop(height: int, width: int, model_height: int, model_width: int) -> CropBox:
    """The largest part of a frame of the model's aspect, in its middle."""
    scale = min(height / model_height, width / model_width)
    h, w = max(1, round(model_height * scale)), max(1, round(model_width * scale))
    return CropBox((height - h) // 2, (width - w) // 2, h, w)


def covering_clips(given: GivenModel, reader: VideoReader) -> np.ndarray:
    """Frame indices int64 [K, T] of as many clips as cover the video, evenly spaced; one where a clip spans it by itself."""
    sampling = given.sampling
    assert sampling is not None
    if not isinstance(sampling, ClipSampling):
        return sampling.view_indices(reader.num_frames, reader.fps, 1)
    spaced = ClipSampling(sampling.num_frames, sampling.sampling_rate, sampling.target_fps, use_offset=True)
    span = clip_span(sampling.num_frames, sampling.sampling_rate, reader.fps, sampling.target_fps)
    return spaced.view_indices(reader.num_frames, reader.fps, max(1, int(np.ceil(reader.num_frames / span))))


def _clips(reader: VideoReader, places: np.ndarray, crop: CropBox, size: tuple[int, ...]) -> Iterator[Tensor]:
    """Clips uint8 [T, 3, h, w] at frames [K, T] of a video, one after the other."""
    return (_fit(frames_to_tensor(reader.frames_at(clip)), crop, size) for clip in places)


def _fit(frames: Tensor, crop: CropBox, size: tuple[int, ...]) -> Tensor:
    """The crop of frames uint8 [T, 3, H, W] at the model's size: uint8 [T, 3, h, w]; averaged where it becomes smaller."""
    cut = frames[..., crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    return F.interpolate(cut, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)


def _scores(logits: Tensor, activation: str) -> Tensor:
    """Mean over clips: [classes]."""
    return (logits.softmax(dim=1) if activation == "softmax" else logits.sigmoid()).mean(dim=0)


def _name(given: GivenModel, place: int) -> str:
    return given.labels[place] if given.labels else f"class {place}"


def _class_of(word: str, given: GivenModel, num_classes: int) -> int:
    if word in given.labels:
        return given.labels.index(word)
    if word.isdecimal() and int(word) < num_classes:
        return int(word)
    if word.isdecimal() or not given.labels:
        raise UserError(f"there is no class {word}: give a number from 0 to {num_classes - 1} (--class)")
    raise UserError(f"there is no class {word!r}; {closest(word, given.labels)}")
