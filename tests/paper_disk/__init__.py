"""A disk made of paper: what files may hold after a power cut, for the tests of all that is stored."""
