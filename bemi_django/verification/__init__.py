"""Compare the log with the tables: is every row accounted for, and does every value agree?"""
