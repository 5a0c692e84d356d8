"""Code that also runs in other Pythons than ours: no module here imports anything of tflbuild.

`run_file.py` is executed by the interpreter that a manifest names as `validator`, which may be
Python 3.8 with NumPy 1.19; `custom_ops.py` lies beside it for that reason.
"""
