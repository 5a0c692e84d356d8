"""Speed and memory of a model's converted files on this machine."""
