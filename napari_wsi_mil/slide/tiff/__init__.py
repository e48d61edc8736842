"""TIFF family: SVS, NDPI, SCN, BIF, QPTIFF, Philips, OME-TIFF, generic."""
