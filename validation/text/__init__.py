"""Text: its normal form, and measures of transcripts and conversations over a whole table at once"""
