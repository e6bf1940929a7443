"""AVA's protocol word for word, slowly: what the fast evaluator must equal.

Rows are tuples (video, second, x1, y1, x2, y2, action) with a score at the end for detections.
"""

import math


def slow_average_precisions(truth, detections, class_ids, excluded, threshold):
    """AP of each class as a dict, and their mean over those that are numbers."""
    truth_of_image, detections_of_image = {}, {}
    for table, images in ((truth, truth_of_image), (detections, detections_of_image)):
        for row in table:
            key = f"{row[0]},{row[1]:04d}"
            if row[6] in class_ids:  # an image enters with its first row of a known class
                images.setdefault(key, []).append(row)
    for video, second in excluded:
        truth_of_image.pop(f"{video},{second:04d}", None)
        detections_of_image.pop(f"{video},{second:04d}", None)

    scores, labels = {k: [] for k in class_ids}, {k: [] for k in class_ids}
    for key, rows in detections_of_image.items():
        valid = [row for row in rows if row[2] < row[4] and row[3] < row[5]]
        for k in class_ids:
            boxes = [[row[3], row[2], row[5], row[4]] for row in truth_of_image.get(key, []) if row[6] == k]
            taken = [False] * len(boxes)
            for row in valid:
                if row[6] != k:
                    continue
                scores[k].append(row[7])
                labels[k].append(False)
                if boxes:
                    overlaps = [iou([row[3], row[2], row[5], row[4]], box) for box in boxes]
                    best = overlaps.index(max(overlaps))
                    if overlaps[best] >= threshold and not taken[best]:
                        labels[k][-1] = taken[best] = True

    found = {}
    for k in class_ids:
        count = sum(row[6] == k for rows in truth_of_image.values() for row in rows)
        found[k] = area(scores[k], labels[k], count) if count else math.nan
    numbers = [value for value in found.values() if not math.isnan(value)]
    return found, sum(numbers) / len(numbers) if numbers else math.nan


def iou(a, b):
    """Of two boxes [y1, x1, y2, x2]."""
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    meet = height * width
    if meet == 0:
        return 0.0
    return meet / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - meet)


def area(scores, labels, num_truth):
    """VOC integral; of equal scores the later comes first."""
    order = sorted(range(len(scores)), key=lambda i: scores[i])[::-1]
    precision, recall, right = [0.0], [0.0], 0
    for rank, i in enumerate(order):
        right += labels[i]
        precision.append(right / (rank + 1))
        recall.append(right / num_truth)
    precision.append(0.0)
    recall.append(1.0)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)) if recall[i] != recall[i - 1])
