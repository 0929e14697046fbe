"""The paper: masked V-DDS, spatial and temporal self-similarity matching, and the loop over them."""
