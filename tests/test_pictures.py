import torch

from slowfast_mvit.pictures import DetectionBatch, Objects, padded


def test_a_batch_is_padded_to_multiples_of_the_stride():
    assert padded(800, 1216) == (800, 1216)
    assert padded(607, 911) == (608, 928)
    assert padded(1, 5000) == (32, 5024)


def test_a_batch_moves_with_its_objects():
    objects = Objects(torch.zeros(2, 4), torch.ones(2, dtype=torch.int64), torch.zeros(2, 20, 30, dtype=torch.uint8))
    batch = DetectionBatch(
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.tensor([[20, 30]]), (objects,), torch.tensor([7])
    )
    moved = batch.to(torch.device("meta"))
    assert {moved.images.device.type, moved.sizes.device.type, moved.video_index.device.type} == {"meta"}
    assert {part.device.type for part in (moved.objects[0].boxes, moved.objects[0].labels, moved.objects[0].masks)} == {
        "meta"
    }
    assert len(moved) == moved.num_scored == 1
