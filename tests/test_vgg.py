import torch
from torchvision.models import vgg16

from layers.vgg import VGG


def test_its_convolutions_are_vgg_s_in_their_order_then_fc6_and_fc7():
    theirs = [layer for layer in vgg16(weights=None).features if isinstance(layer, torch.nn.Conv2d)]
    ours = VGG().convolutions()
    assert [layer.weight.shape for layer in ours[:13]] == [layer.weight.shape for layer in theirs]
    assert [tuple(layer.weight.shape) for layer in ours[13:]] == [
        (1024, 512, 3, 3),
        (1024, 1024, 1, 1),
    ]


def test_pooling_before_relu_gives_what_vgg_gives():
    torch.manual_seed(0)
    theirs, ours = vgg16(weights=None).features, VGG()
    convolutions = [layer for layer in theirs if isinstance(layer, torch.nn.Conv2d)]
    for layer, source in zip(ours.convolutions(), convolutions):
        layer.load_state_dict(source.state_dict())
    images = torch.randn(1, 3, 64, 64)
    # Up to the ReLU behind conv4_3, the 23rd of its layers.
    torch.testing.assert_close(ours(images)[0], theirs[:23](images))


def test_batch_norm_stands_behind_every_convolution_where_asked_for():
    assert VGG().norms() == []
    norms = VGG("batch").norms()
    convolutions = VGG("batch").convolutions()
    assert [norm.num_features for norm in norms] == [conv.out_channels for conv in convolutions]
    # The first map of a batch has, behind its first norm, mean 0 in every channel.
    first = VGG("batch").conv1[:2](torch.rand(2, 3, 16, 16))
    torch.testing.assert_close(first.mean(dim=(0, 2, 3)), torch.zeros(64), atol=1e-5, rtol=0)


def test_a_base_of_half_the_width_has_half_the_channels_everywhere():
    whole, half = VGG("batch").state_dict(), VGG("batch", width=32)
    for name, value in half.state_dict().items():
        halved = [n if n in (1, 3) else n // 2 for n in whole[name].shape]
        assert list(value.shape) == halved
    conv4, fc7 = half(torch.zeros(1, 3, 32, 32))
    assert (conv4.shape[1], fc7.shape[1]) == half.channels == (256, 512)


def test_300_pixels_give_maps_of_38_and_19():
    with torch.no_grad():
        conv4, fc7 = VGG()(torch.zeros(1, 3, 300, 300))
    assert conv4.shape == (1, 512, 38, 38) and fc7.shape == (1, 1024, 19, 19)
