"""Record what happens without a row being written: who has viewed, exported, logged in."""
