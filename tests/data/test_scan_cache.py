"""Scans that are remembered: the same reader again for every kind of file, without reading it; bounds and changed files."""

import os
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

from slowfast_mvit.data.scan_cache import ScanCache
from slowfast_mvit.data.video import VideoError, open_video
from slowfast_mvit.data.video_index import UNKNOWN
from slowfast_mvit.data.video_pyav import PyAVReader


@pytest.fixture
def scanned(monkeypatch):
    """Names of the files that are scanned."""
    names, real = [], PyAVReader._scan
    monkeypatch.setattr(PyAVReader, "_scan", lambda reader: names.append(reader.path.name) or real(reader))
    return names


def test_a_remembered_file_reads_as_before(video_sample, video_file, scanned):
    path, scans, seen = video_file(video_sample).path, ScanCache(10**6), []
    for _ in range(2):
        with open_video(path, scans=scans) as video:
            wanted = [min(index, video.num_frames - 1) for index in (37, 5, 20)]
            facts = (video.num_frames, video.fps, video.codec, video.height, video.width, video.rotation)
            seen.append((facts, video.timestamps(), video.frames_at(wanted), video.damaged_frames()))
    assert scanned == [path.name]
    (facts, times, frames, damaged), again = seen
    assert again[0] == facts and again[3] == damaged == []
    np.testing.assert_array_equal(again[1], times)
    np.testing.assert_array_equal(again[2], frames)


def test_a_changed_file_is_scanned_again(new_video, tmp_path, scanned):
    scans, path = ScanCache(10**6), tmp_path / "film.mp4"
    for num_frames, count in ((30, 1), (20, 2)):
        shutil.copy(new_video(f"{num_frames}.mp4", num_frames=num_frames).path, path)
        assert [open_video(path, scans=scans).num_frames for _ in range(2)] == [num_frames] * 2
        assert len(scanned) == count
    os.utime(path, ns=(0, 1))
    assert open_video(path, scans=scans).num_frames == 20 and len(scanned) == 3
    path.write_bytes(b"no video")
    with pytest.raises(VideoError, match="it is no video"):
        open_video(path, scans=scans)


def test_the_longest_unasked_for_goes_when_the_bytes_are_spent(new_video, tmp_path, scanned):
    sample = new_video("one.mp4", num_frames=30)
    paths = [shutil.copy(sample.path, tmp_path / f"{name}.mp4") for name in "abc"]
    scans = ScanCache(10**6)
    open_video(paths[0], scans=scans)
    scans = ScanCache(int(scans.num_bytes * 2.5))  # room for two
    scanned.clear()
    for name in (0, 1, 0, 2, 0, 1):
        open_video(paths[name], scans=scans)
    assert scanned == ["a.mp4", "b.mp4", "c.mp4", "b.mp4"] and 0 < scans.num_bytes <= scans.max_bytes
    small = ScanCache(10)
    open_video(paths[0], scans=small)
    assert small.num_bytes == 0


def test_packets_without_stamps_come_back(new_video):
    with PyAVReader(new_video("two.mp4", num_frames=30).path) as video:
        scan = video._scan()
    names = scan.packets.names.copy()
    names[3], names[7, 1] = UNKNOWN, UNKNOWN
    scan = replace(scan, packets=replace(scan.packets, names=names))
    scans = ScanCache(10**6)
    scans.get(video.path, lambda: scan)
    again = scans.get(video.path, pytest.fail)
    for ours, theirs in ((again, scan), (again.packets, scan.packets)):
        for field in fields(ours):
            if field.name != "packets":
                np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))
    assert again.packets.position_of(None, None) == 3
