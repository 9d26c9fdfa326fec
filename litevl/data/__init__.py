"""Videos and their captions: decoding, preprocessing, annotation files, datasets."""
