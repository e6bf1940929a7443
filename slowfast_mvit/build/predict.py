"""Predictions from Python: a model, and what happens in a file."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from torch import nn

from slowfast_mvit.batches import UnreadableVideo
from slowfast_mvit.build.predict_model import ReadyModel, Triple, model_as_built, model_of_config, model_of_name
from slowfast_mvit.build.predict_scores import Looks, score, scoring_of
from slowfast_mvit.config.schema import Config
from slowfast_mvit.data.video import VideoError
from slowfast_mvit.errors import UserError
from slowfast_mvit.evaluation.score_files import scored_clips, scored_videos
from slowfast_mvit.evaluation.view_scores import VideoScores

_LOG = logging.getLogger(__name__)


class Predictor:
    """Says what happens in videos, or what images show: ``Predictor("mvitv2_s_16x4").predict("film.mp4")``.

    Videos are sampled, resized, cropped and scored as in the model's test, by its code.

    Args:
        model: the name of a model (see :func:`slowfast_mvit.list_models`); or a model of
            :func:`slowfast_mvit.create_model` that has its weights, which is used where it is; or a config of
            :func:`slowfast_mvit.load_config`, whose NUM_GPUS says where it runs.
        weights: a tag of published weights, a path or a URL. A name's own published ones by default; for a config by default
            its TEST.CHECKPOINT_FILE_PATH; a model has its own.
        name: of a model's architecture, needed for baselines alone.
        label_names: in the order of the model's outputs. By default those in the checkpoint, or of the published weights where
            they are known; else labels are numbers alone. For models.
        sampling_rate: source frames, of 30 a second, per frame of a clip; by default the published model's. For models.
        mean, std: normalisation of RGB values from 0 to 1; by default the published model's. For models.

    Raises:
        UserError: no such model or weights, or nothing is known of how a model is fed.
    """

    def __init__(
        self,
        model: str | nn.Module | Config,
        *,
        weights: str | Path | None = None,
        name: str | None = None,
        label_names: Sequence[str] = (),
        sampling_rate: int | None = None,
        mean: Triple | None = None,
        std: Triple | None = None,
    ) -> None:
        of_models: dict[str, object] = {
            "name": name,
            "label_names": label_names or None,
            "sampling_rate": sampling_rate,
            "mean": mean,
            "std": std,
        }
        given = [key for key, value in of_models.items() if value is not None]
        if isinstance(model, nn.Module):
            if weights is not None:
                raise UserError("a model has its weights: load others with load_weights, or give the model's name")
            self.ready: ReadyModel = model_as_built(
                model, name=name, label_names=label_names, sampling_rate=sampling_rate, mean=mean, std=std
            )
        elif given:
            raise UserError(f"{', '.join(given)} is for models of create_model, and not for a name or a config")
        elif isinstance(model, Config):
            self.ready = model_of_config(_with_weights(model, weights))
        elif isinstance(model, str):
            self.ready = model_of_name(model, weights)
        else:
            raise UserError(f"Predictor takes a name, a model or a config, and not a {type(model).__name__}")

    def predict(
        self,
        path: str | Path | Sequence[str | Path],
        *,
        window: float | None = None,
        stride: float | None = None,
        per_video: bool = False,
        progress: bool = False,
    ) -> pd.DataFrame:
        """The best labels of each clip, a row each in the order of time.

        Columns are those of a test's ``clips.csv`` without the labels: ``video``, ``clip_index``, ``crop_index``,
        ``start_sec``, ``end_sec``, and ``top1``, ``top1_name``, ``top1_score`` up to the fifth. ``per_video`` gives a row per
        file, clips joined, as in ``videos.csv``.

        Args:
            path: a file, folder, pattern or list file, or several of them.
            window: seconds of the windows that slide over each video; 0 for the views of the test. By default videos of up to a
                minute have those, and longer ones windows of the length of a clip.
            stride: seconds between the starts of windows; by default they touch.
            per_video: a row per file.
            progress: show how far it is.

        Raises:
            UserError: the path means nothing, or scores are not finite.
            VideoError: none of the files can be read. Some that cannot are logged and left out; of one that is damaged and
                looked at by windows, those before the damage are there.
        """
        words = [path] if isinstance(path, str | Path) else list(path)
        scoring = scoring_of(self.ready, words, Looks(window, stride))
        scores: list[VideoScores] = []
        unreadable: list[UnreadableVideo] = []

        score(scoring, range(len(scoring.inputs)), finished=scores.append, unreadable=unreadable.append, shown=progress)
        if not scores:
            raise VideoError(unreadable[0].path, unreadable[0].backend, unreadable[0].cause)
        for video in unreadable:
            _LOG.warning("cannot read %s with %s: %s", video.path, video.backend, video.cause)
        scores.sort(key=lambda one: one.video_index)
        table = scored_videos if per_video else scored_clips
        return table(scores, scoring.inputs.names, self.ready.label_names)


def _with_weights(config: Config, weights: str | Path | None) -> Config:
    if weights is None:
        return config
    return replace(config, TEST=replace(config.TEST, CHECKPOINT_FILE_PATH=str(weights)))
