"""Sample corpora for the demo, spoken by eSpeak NG on the spot."""
