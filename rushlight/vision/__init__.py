"""Image datasets and transforms, by torchvision's names: `vision.datasets` and `vision.transforms`.

Images are Pillow's, which is imported when the first one is made. There are no models here, no operators
and no video.
"""

from rushlight.vision import datasets as datasets
from rushlight.vision import transforms as transforms
