"""The whole chain on toy videos: make them, train, test with several views, look at the predictions."""

import sys
from pathlib import Path

import pandas as pd
import run_net

from slowfast_mvit.data.toy import CLASSES, ToySet, make_toy_set

CONFIG = "configs/Toy/MVITV2_TOY_8x4.yaml"
OUTPUT = Path("runs/toy")
EXPECTED = 0.9


def main() -> int:
    """Run the demo from the checkout's root; returns the exit status."""
    toy = ToySet()
    print(
        f"1. {toy.num_train} + {toy.num_val} + {toy.num_test} small H.264 videos of {len(CLASSES)} kinds of motion",
        flush=True,
    )
    make_toy_set(OUTPUT / "data", toy)
    print("2. training a small MViTv2 on them, and testing it with several views", flush=True)
    status = run_net.main(["--cfg", CONFIG, "DATA.PATH_TO_DATA_DIR", str(OUTPUT / "data"), "OUTPUT_DIR", str(OUTPUT)])
    if status != 0:
        return status
    videos = pd.read_csv(OUTPUT / "predictions" / "videos.csv")
    accuracy = (videos["label"] == videos["top1"]).mean()
    print(f"""
3. done: {accuracy:.1%} of {len(videos)} held-out videos right (chance is {1 / len(CLASSES):.1%})

   {OUTPUT}/predictions/videos.csv   one row per video: the best classes and their scores
   {OUTPUT}/predictions/clips.csv    one row per view: which seconds, which crop, the best classes
   {OUTPUT}/metrics.json             accuracy and test protocol
   {OUTPUT}/checkpoints/             the trained weights

   first predictions:
{videos.head(4)[["video", "label_name", "top1_name", "top1_score"]].to_string(index=False)}

   next: does a published recipe run on this machine?
   .venv/bin/python tools/run_net.py --cfg configs/Kinetics/MVITV2_S_16x4.yaml --toy NUM_GPUS 0""")
    if accuracy < EXPECTED:
        print(f"error: {accuracy:.1%} right is less than the {EXPECTED:.0%} that this recipe reaches", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
