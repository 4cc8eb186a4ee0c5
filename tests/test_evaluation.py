"""Labels of pixels for the metrics of scenes."""

import torch

from trainers.models import Explanation
from trainers.models.explanation import nearest_layers


def explained(colours, choice):
    layers = len(choice)
    shape = (1, layers, 1, 1, 4)
    return Explanation(
        reconstruction=torch.zeros(1, 1, 1, 4),
        error=torch.zeros(1),
        hard_error=torch.zeros(1),
        p=torch.zeros(1, layers, 3),
        choice=torch.tensor([choice]),
        colours=torch.tensor(colours)[None, :, None, None, None].expand(shape),
        masks=torch.zeros(shape),
        occlusion=torch.zeros(1, layers, layers),
    )


def test_background_pixels_go_to_the_layer_of_nearest_colour_and_others_stay():
    image = torch.tensor([0.9, 0.1, 0.5, 0.2]).reshape(1, 1, 1, 4)
    instances = torch.tensor([[[0, 0, 2, 1]]])
    found = explained([1.0, 0.0], [0, 1])
    assert nearest_layers(instances, found, image, 2).tolist() == [[[1, 2, 2, 1]]]


def test_empty_layers_take_no_pixel():
    image = torch.tensor([0.9, 0.1, 0.5, 0.2]).reshape(1, 1, 1, 4)
    nothing = torch.zeros(1, 1, 4, dtype=torch.long)
    assert nearest_layers(nothing, explained([1.0, 0.0], [0, 2]), image, 2).tolist() == [[[1, 1, 1, 1]]]
    assert nearest_layers(nothing, explained([1.0, 0.0], [2, 2]), image, 2).tolist() == [[[0, 0, 0, 0]]]
