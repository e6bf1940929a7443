"""Why mAP is 0 or missing: every cause that users meet has its sentence."""

import pytest

from slowfast_mvit.evaluation.ava import evaluate
from slowfast_mvit.evaluation.ava_boxes import ActionBoxes, ActionClass, KeySeconds
from slowfast_mvit.evaluation.ava_reasons import explain

BOX = (0.1, 0.2, 0.5, 0.6)
CLASSES = (ActionClass(1, "stand"), ActionClass(2, "sit"))
EXCLUDED = KeySeconds.of(["x", "x"], [902, 903])


def truth(video="a", seconds=(902, 903), box=BOX, actions=(1, 2)):
    return ActionBoxes.of([video] * 2, seconds, [box] * 2, actions)


def found(video="a", seconds=(902, 903), box=BOX, actions=(1, 2)):
    return ActionBoxes.of([video] * 2, seconds, [box] * 2, actions, [0.5, 0.5])


NONE = ActionBoxes.of([], [], [], [], [])
NO_DETECTION = "2 of the 2 classes have truth but no detection, and count as 0: stand, sit"
NO_TRUTH = "2 of the 2 classes have no truth, so no precision, and are not in the mean: stand, sit"


@pytest.mark.parametrize(
    ("annotated", "detected", "reasons"),
    [
        pytest.param(truth(), found(), [], id="all is well"),
        pytest.param(truth(), NONE, ["there are no detections"], id="no detections"),
        pytest.param(NONE, found(), ["there are no annotated boxes", NO_TRUTH], id="no truth"),
        pytest.param(
            truth(),
            found(video="a.mp4"),
            [
                "no video of the detections (such as 'a.mp4') is among those with truth (such as 'a'):"
                " the names must be equal, so without folders and endings in both or in neither"
            ],
            id="other names of videos",
        ),
        pytest.param(
            truth(),
            found(seconds=(2, 3)),
            [
                "no second of the detections (2 to 3) has truth (there it is 902 to 903) in the same video: both must"
                " count whole seconds from the same start, and not frames or milliseconds"
            ],
            id="other seconds",
        ),
        pytest.param(
            truth(),
            found(box=(34, 68, 170, 204)),
            [
                "coordinates of detections reach 204: they must be parts of the frame's width and height, from 0 to 1,"
                " and not pixels"
            ],
            id="pixels",
        ),
        pytest.param(
            truth(),
            found(box=(0.5, 0.6, 0.1, 0.2)),
            [
                "none of the 2 detections can be scored: 0 have actions that the label map lacks, 0 are at excluded seconds,"
                " 2 have no area",
                "2 of the 2 detections have x1 >= x2 or y1 >= y2 and are left out:"
                " boxes are two corners, and not a corner with width and height",
                NO_DETECTION,
            ],
            id="width and height",
        ),
        pytest.param(
            truth(box=(0.5, 0.6, 0.1, 0.2)),
            found(),
            [
                "2 of the 2 annotated boxes have x1 >= x2 or y1 >= y2 and are never found:"
                " boxes are two corners, and not a corner with width and height"
            ],
            id="width and height in the truth",
        ),
        pytest.param(
            truth(),
            found(box=(0.1, 0.2, 0.5, 0.32)),
            ["no detection reaches an IoU of 0.5 with a box of its own class: the highest is 0.30"],
            id="bad boxes",
        ),
        pytest.param(
            truth(),
            found(actions=(2, 1)),
            ["no detection reaches an IoU of 0.5 with a box of its own class: the highest is 0.00"],
            id="the wrong actions",
        ),
        pytest.param(
            truth(),
            found(actions=(0, 1)),
            [
                "no detection reaches an IoU of 0.5 with a box of its own class: the highest is 0.00",
                "1 of the 2 detections are left out, as the label map lacks their actions 0: actions are numbered from 1",
                "1 of the 2 classes have truth but no detection, and count as 0: sit",
                "1 of the 2 seconds with truth have no detection",
            ],
            id="actions from 0",
        ),
        pytest.param(
            truth(actions=(7, 80)),
            found(),
            [
                "none of the 2 annotated boxes can be scored:"
                " 2 have actions that the label map lacks, 0 are at excluded seconds",
                "2 of the 2 annotated boxes are left out, as the label map lacks their actions 7, 80",
                NO_TRUTH,
            ],
            id="truth of another label map",
        ),
        pytest.param(
            truth(video="x"),
            found(video="x"),
            [
                "none of the 2 annotated boxes can be scored:"
                " 0 have actions that the label map lacks, 2 are at excluded seconds",
                "none of the 2 detections can be scored: 0 have actions that the label map lacks, 2 are at excluded seconds,"
                " 0 have no area",
                NO_TRUTH,
            ],
            id="all is excluded",
        ),
        pytest.param(
            truth(),
            found(seconds=(902, 904)),
            [
                "1 of the 2 seconds with truth have no detection",
                "1 of the 2 seconds with detections have no truth: all there counts as wrong",
            ],
            id="some seconds",
        ),
    ],
)
def test_reasons(annotated, detected, reasons):
    result = evaluate(annotated, detected, CLASSES, excluded=EXCLUDED)
    assert explain(result, annotated, detected) == reasons


def test_long_lists_are_cut():
    classes = tuple(ActionClass(number, f"c{number}") for number in range(1, 10))
    result = evaluate(truth(), found(), classes)
    assert explain(result, truth(), found())[0].endswith("are not in the mean: c3, c4, c5, c6, c7 and 2 more")
