"""Measures that models take of a recording: all optional, each imported only where it is turned on"""
