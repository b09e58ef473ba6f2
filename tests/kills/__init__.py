"""Kill -9 thousands of times: see campaign.py."""
