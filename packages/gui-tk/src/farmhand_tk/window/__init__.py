"""The window of a run, in its own process: ``words`` and ``plan`` say what is drawn, the others draw it.

================ ==========================================================================
``words``        what each part of the window says of a snapshot; pure
``plan``         where the lines of the chart run; pure
``failed``       the failures that have come, and how many went by; pure
``orders``       what the user has asked for, and whether the farm has answered; pure
``looks``        colours, fonts and sizes; the desktop's theme
``parts``        bars, and texts that are cut
``overview``     the part at the top: the whole run
``processes``    a row for each process
``chart``        items over time, and the projected end
``failures``     the failures, and all of one of them
``controls``     the buttons at the bottom
``app``          the window, and its connection to the farm
================ ==========================================================================
"""
