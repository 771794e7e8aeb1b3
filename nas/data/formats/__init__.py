"""Data sets in other formats, YOLO's and Pascal VOC's, written anew in COCO's.

Where files lie is found here, since data sets differ in it. Labels are read by supervision.
"""
