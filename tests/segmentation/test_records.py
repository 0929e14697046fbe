"""The record of a selection: enough to understand it, and no masks in it."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from segmentation import Box, Click, Project, Prompt, Selection, describe_project


def test_objects_names_clicks_boxes_and_frames_are_recorded_in_order() -> None:
    project = Project(num_frames=5, height=8, width=12).add_object("the car").add_object()
    project = project.with_prompt(1, Prompt(Selection(3, (Click(2, 3, is_positive=True),))))
    project = project.with_prompt(1, Prompt(Selection(0, box=Box(1, 1, 6, 5))))

    record = describe_project(project)

    (car,) = record["objects"]
    assert (car["number"], car["name"]) == (1, "the car")
    assert [prompt["frame_index"] for prompt in car["prompts"]] == [0, 3]
    assert car["prompts"][0]["box"] == {"x0": 1, "y0": 1, "x1": 6, "y1": 5}
    assert car["prompts"][1]["clicks"] == [{"x": 2, "y": 3, "is_positive": True}]
    assert json.loads(json.dumps(record)) == record


def test_a_given_mask_is_named_by_area_and_hash() -> None:
    mask = np.zeros((8, 12), bool)
    mask[2:4, 3:9] = True
    project = Project(num_frames=1, height=8, width=12).add_object().with_prompt(1, Prompt.of_mask(0, mask))

    (prompt,) = describe_project(project)["objects"][0]["prompts"]

    assert prompt["mask"] == {"area": 12, "sha256": hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()}
