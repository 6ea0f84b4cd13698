"""Signal measures, one family per module: pure functions of a waveform, in numpy and scipy only"""
