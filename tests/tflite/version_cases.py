"""Operators and the versions that they have, by hand: facts of `op_version.cc` and its test.

`tflite/converter/tools/versioning/op_version_test.cc` (LiteRT, 2026-08), and the converter of
TensorFlow 2.21 for what `tests/convert/version_zoo.py` makes. A line:

    OPERATORS: inputs [-> outputs] [; option=value …] = version

A tensor is a type, `/4` of 4 dimensions, `*8` with 8 scales, `!` sparse; `-` is left out. Without
outputs there is one of the first input's type and scales. `|` stands between alternatives.
"""

CASES = """
SPARSE_TO_DENSE: int8 int8 int8 | uint8 uint8 uint8 = 3
SPARSE_TO_DENSE: int64 int64 int64 = 2
SPARSE_TO_DENSE: int32 int32 int32 = 1
EQUAL: float32 = 1
EQUAL: int8 = 2
EQUAL: string = 3
EQUAL: int16 = 5
NOT_EQUAL: float32 = 1
NOT_EQUAL: int8 = 2
NOT_EQUAL: string = 3
NOT_EQUAL: int16 = 4
LESS GREATER_EQUAL: uint8 = 1
LESS GREATER_EQUAL: int8 = 2
LESS GREATER_EQUAL: int16 = 3
LESS_EQUAL GREATER SPACE_TO_DEPTH DEPTH_TO_SPACE SUM LOG_SOFTMAX SQUARED_DIFFERENCE: uint8 = 1
LESS_EQUAL GREATER SPACE_TO_DEPTH DEPTH_TO_SPACE SUM LOG_SOFTMAX SQUARED_DIFFERENCE: int8 = 2
MEAN MIRROR_PAD REDUCE_MAX REDUCE_MIN RELU6 RSQRT: float32 | uint8 = 1
MEAN MIRROR_PAD REDUCE_MAX REDUCE_MIN RELU6 RSQRT: int8 = 2
MEAN MIRROR_PAD REDUCE_MAX REDUCE_MIN RELU6 RSQRT: int16 = 3
TANH LOGISTIC AVERAGE_POOL_2D MAX_POOL_2D: uint8 = 1
TANH LOGISTIC AVERAGE_POOL_2D MAX_POOL_2D: int8 = 2
TANH LOGISTIC AVERAGE_POOL_2D MAX_POOL_2D: int16 -> int16 = 3
EXP LOG REDUCE_PROD SQRT: float32 = 1
EXP LOG REDUCE_PROD SQRT: int8 | int16 = 2
SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND: int16/3 | int16/4 = 4
SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND: int8/3 | uint8/3 = 3
SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND: int8/4 = 2
SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND: uint8/4 = 1
PACK: int32 = 1
PACK: int8 = 2
PACK: int16 -> int16 = 3
PACK: uint32 = 4
PACK: float8_e4m3fn = 5
UNPACK: int32 = 1
UNPACK: int8 | uint8 = 2
UNPACK: bool = 3
UNPACK: int16 -> int16 = 4
UNPACK: float16 | bfloat16 = 5
UNPACK: float8_e5m2 = 6
RANGE: int32 = 1
RANGE: int64 = 2
RELU: int32 = 1
RELU: int8 | uint8 = 2
RELU: int16 = 3
STRIDED_SLICE: uint8/4 = 1
STRIDED_SLICE: int8/4 = 2
STRIDED_SLICE: bool/4 = 3
STRIDED_SLICE: int8/5 = 4
STRIDED_SLICE: string/2 = 5
STRIDED_SLICE: int8/5 ; newAxisMask=2 = 6
STRIDED_SLICE: float32/3 ; ellipsisMask=1 = 6
STRIDED_SLICE: uint32/4 = 7
STRIDED_SLICE: uint32/4 ; offset=1 = 8
SLICE: uint8/4 = 1
SLICE: int8/4 = 2
SLICE: string/4 = 3
SLICE: int16/4 = 4
SLICE: int16/5 = 5
SLICE: uint32/4 = 6
SLICE: int4/4 = 7
SLICE: float16/4 = 8
L2_NORMALIZATION: uint8 = 1
L2_NORMALIZATION: int8 = 2
MAXIMUM MINIMUM: uint8/4 uint8/4 = 1
MAXIMUM MINIMUM: int8/5 int8/5 | int8/4 int8/4 = 2
MAXIMUM MINIMUM: int8/4 int8/5 | uint8/4 uint8/5 = 3
MAXIMUM MINIMUM: int16/4 int16/4 -> int16 = 4
DIV: uint8/5 uint8/5 | uint8/4 uint8/4 = 1
DIV: uint8/5 uint8/4 = 2
ADD: float32 float32 | uint8 uint8 = 1
ADD: int16*1 int16*1 ; potScaleInt16=1 = 1
ADD: int8 int8 = 2
ADD: int16*1 int16*1 ; potScaleInt16=0 = 3
ADD: int64 int64 = 4
ADD: int16 int16 ; potScaleInt16=0 = 5
ADD: float16 float16 = 6
SUB: float32 float32 = 1
SUB: int8 int8 = 2
SUB: int8/4 int8/5 = 3
SUB: int64 int64 = 4
SUB: int16 int16 ; potScaleInt16=0 = 5
MUL: uint8 uint8 = 1
MUL: int8 int8 = 2
MUL: int8*1 int8*1 -> int8*1 = 3
MUL: int16*1 int16*1 = 4
MUL: int64 int64 = 5
MUL: complex64 complex64 = 6
MUL: int16 int16 | uint32 uint32 = 7
MUL: float16 float16 = 8
PAD PADV2: uint8/4 = 1
PAD PADV2: int8/4 = 2
PAD PADV2: int16/4 = 3
PAD PADV2: float32/5 = 4
PAD PADV2: bool/4 = 5
PAD PADV2: float8_e4m3fn = 6
CONCATENATION: float32 float32 = 1
CONCATENATION: int8 int8 = 2
CONCATENATION: int16 int16 = 3
CONCATENATION: uint32 uint32 = 4
CONCATENATION: int4 int4 = 5
CONCATENATION: float16 float16 = 6
CONCATENATION: float8_e5m2 float8_e5m2 = 7
SOFTMAX: float32 = 1
SOFTMAX: int8 = 2
SOFTMAX: int16 = 3
SOFTMAX: float16 = 4
SELECT: float32/4 float32/4 float32/4 = 1
SELECT: int8/4 int8/4 int8/4 = 2
SELECT: uint8/5 uint8/5 uint8/5 = 3
SELECT: uint32/5 uint32/5 uint32/5 = 4
SELECT_V2: int32/5 int32/5 int32/5 = 1
SELECT_V2: uint32/5 uint32/5 uint32/5 = 2
FULLY_CONNECTED: float32 float32 float32 = 1
FULLY_CONNECTED: float32 float32 float32 ; weightsFormat=1 = 2
FULLY_CONNECTED: float32 int8*1 float32 -> float32 = 3
FULLY_CONNECTED: int8 int8 int32 -> int8 = 4
FULLY_CONNECTED: float32 float32 float32 ; keepNumDims=1 = 5
FULLY_CONNECTED: uint8 uint8 ; weightsFormat=1 = 6
FULLY_CONNECTED: int8 int8 -> int8 = 6
FULLY_CONNECTED: int16 int16 -> int16 = 7
FULLY_CONNECTED: int16 int8 int64 -> int16 = 7
FULLY_CONNECTED: int16 int8 int64 -> int16 ; quantizedBiasType=4 = 7
FULLY_CONNECTED: int8 int8! int32 -> int8 = 8
FULLY_CONNECTED: float32 int8*1 float32 -> float32 ; asymmetricQuantizeInputs=1 = 9
FULLY_CONNECTED: int8 int4 int32 -> int8 = 10
FULLY_CONNECTED: int16 int8 int32 -> int16 ; quantizedBiasType=2 = 11
FULLY_CONNECTED: float32 int8/2*4 float32 -> float32 = 12
FULLY_CONNECTED: int16 int4 -> int16 = 13
FULLY_CONNECTED: int8 int2 -> int8 = 14
DEQUANTIZE: uint8*1 = 1
DEQUANTIZE: int8*1 -> float32 = 2
DEQUANTIZE: int16*1 -> float32 | float16 -> float32 = 3
DEQUANTIZE: int8/2*4 -> float32 = 5
DEQUANTIZE: int4*1 -> float32 = 6
DEQUANTIZE: int2*1 -> float32 = 7
DEQUANTIZE: uint4*1 -> float32 = 8
DEQUANTIZE: float8_e4m3fn -> float32 = 9
QUANTIZE: float32 -> int8*1 | float32 -> uint8*1 = 1
QUANTIZE: float32 -> int16*1 = 2
QUANTIZE: float32 -> int16/2*4 | float32 -> int8/2*4 = 3
QUANTIZE: float32 -> int4*1 = 4
QUANTIZE: float32 -> uint4*1 = 5
CONV_2D: uint8/4 uint8/4 int32 | float32/4 float32/4 float32 = 1
CONV_2D: float32/4 int8/4*1 float32 = 2
CONV_2D: int8/4 int8/4 int32 = 3
CONV_2D: int16/4 int8/4 int64 -> int16 | int16/4 int8/4 int64 -> int16 ; quantizedBiasType=4 = 4
CONV_2D: float32/4 int8/4*4 float32 = 5
CONV_2D: float32/4x8 float32/4 float32 = 6
CONV_2D: int8/4 int4/4 int32 = 7
CONV_2D: int16/4 int8/4 int32 -> int16 ; quantizedBiasType=2 = 8
DEPTHWISE_CONV_2D: float32/4 float32/4 float32 ; dilationWFactor=1 dilationHFactor=1 = 1
DEPTHWISE_CONV_2D: float32/4 float32/4 float32 ; dilationWFactor=2 dilationHFactor=2 = 2
DEPTHWISE_CONV_2D: int8/4 int8/4 int32 = 3
DEPTHWISE_CONV_2D: float32/4 int8/4*1 float32 = 4
DEPTHWISE_CONV_2D: int16/4 int8/4 int64 -> int16 = 5
DEPTHWISE_CONV_2D: float32/4 int8/4*4 float32 = 6
DEPTHWISE_CONV_2D: int8/4 int4/4 int32 = 7
TRANSPOSE_CONV: int32 uint8 float32 -> float32 = 1
TRANSPOSE_CONV: int32 int8 int8 -> int8 | int32 int8 int8 - -> int8 = 2
TRANSPOSE_CONV: int32 int8 int8 int32 -> int8 = 3
TRANSPOSE_CONV: int32 int8 int8 - -> int8 ; fusedActivationFunction=1 = 4
TRANSPOSE_CONV: int16 int8 -> int16 ; quantizedBiasType=2 = 5
FLOOR_DIV: int32 int32 = 1
FLOOR_DIV: float32 float32 = 2
FLOOR_DIV: int16 int16 | int8 int8 = 3
FLOOR_MOD: int32 int32 = 1
FLOOR_MOD: int16 int16 | int8 int8 = 2
SVDF: float32 float32 float32 float32 float32 = 1
SVDF: float32 int8 float32 float32 float32 = 2
SVDF: int8 int8 int32 int32 int16 = 3
SVDF: float32 int8 float32 float32 float32 ; asymmetricQuantizeInputs=1 = 4
TILE: int32 = 1
TILE: string = 2
TILE: int8 = 3
SQUEEZE: float32 = 1
SQUEEZE: string = 2
TRANSPOSE: uint8/4 = 1
TRANSPOSE: int8/4 = 2
TRANSPOSE: bool/4 = 3
TRANSPOSE: bool/5 = 4
TRANSPOSE: int16 = 5
TRANSPOSE: float32/6 = 6
TRANSPOSE: int4/4 = 7
TRANSPOSE: float32/7 | bfloat16/4 = 8
TRANSPOSE: float16 = 9
GATHER: float32 int32 = 1
GATHER: int8 int32 = 2
GATHER: bool int32 = 3
GATHER: int16 int32 = 4
GATHER: int16 int32 ; batchDims=1 = 5
GATHER: float32 int16 = 6
GATHER: int4 int32 = 7
GATHER: float8_e5m2 int32 = 8
GATHER_ND: int32 int32 = 1
GATHER_ND: string int32 = 2
GATHER_ND: int16 int32 = 3
GATHER_ND: int32 int16 = 4
GATHER_ND: bool int16 = 5
GATHER_ND: float8_e5m2 int32 = 6
FILL: int32 int32 -> int32 = 1
FILL: int32 bool -> bool | int32 string -> string = 2
FILL: int32 int8 -> int8 | int64 int16 -> int16 = 3
FILL: int32 float16 -> float16 | int64 float16 -> float16 = 4
FILL: int32 float8_e4m3fn -> float8_e4m3fn = 5
RESIZE_BILINEAR: float32 int32 | float32 int32 ; alignCorners=1 = 1
RESIZE_BILINEAR: int8 int32 = 2
RESIZE_BILINEAR: float32 int32 ; halfPixelCenters=1 | int8 int32 ; halfPixelCenters=1 = 3
RESIZE_BILINEAR: int16 int32 = 4
RESIZE_NEAREST_NEIGHBOR: float32 int32 = 1
RESIZE_NEAREST_NEIGHBOR: int8 int32 = 2
RESIZE_NEAREST_NEIGHBOR: float32 int32 ; alignCorners=1 | int8 int32 ; halfPixelCenters=1 = 3
RESIZE_NEAREST_NEIGHBOR: int16 int32 = 4
ABS: float32 = 1
ABS: int8 = 2
ABS: int16*1 = 3
ABS: int16 = 4
ABS: int32 = 5
SIGN: float32 = 1
SIGN: int32 = 2
SIN COS: float32 = 1
SIN COS: float16 = 2
BATCH_MATMUL: float32 float32 | float32 int8 = 1
BATCH_MATMUL: int8 int8 = 2
BATCH_MATMUL: int16 int8 = 3
BATCH_MATMUL: float32 int8 ; asymmetricQuantizeInputs=1 = 4
BROADCAST_TO: float32 = 2
BROADCAST_TO: int8 | int16 = 3
BROADCAST_TO: float8_e4m3fn = 4
GELU: float32 = 1
GELU: int8 | uint8 = 2
GELU: float16 = 3
UNIDIRECTIONAL_SEQUENCE_LSTM: float32 float32 float32 = 1
UNIDIRECTIONAL_SEQUENCE_LSTM: float32 float32 int8 = 2
UNIDIRECTIONAL_SEQUENCE_LSTM: float32 float32 int8 ; asymmetricQuantizeInputs=1 = 3
UNIDIRECTIONAL_SEQUENCE_LSTM: float32 float32 int8 ; diagonalRecurrentTensors=1 = 4
UNIDIRECTIONAL_SEQUENCE_LSTM: int16 - int8 = 5
LSTM: float32 float32 float32 = 1
LSTM: float32 float32 float32 ; kernelType=1 = 2
LSTM: float32 - int8 = 3
LSTM: float32 - int8 ; asymmetricQuantizeInputs=1 = 4
LSTM: int16 - int8 = 5
RNN UNIDIRECTIONAL_SEQUENCE_RNN: float32 float32 = 1
RNN UNIDIRECTIONAL_SEQUENCE_RNN: float32 int8 = 2
RNN UNIDIRECTIONAL_SEQUENCE_RNN: float32 int8 ; asymmetricQuantizeInputs=1 = 3
BIDIRECTIONAL_SEQUENCE_RNN BIDIRECTIONAL_SEQUENCE_LSTM: float32 float32 = 1
BIDIRECTIONAL_SEQUENCE_RNN BIDIRECTIONAL_SEQUENCE_LSTM: float32 int8 = 2
BIDIRECTIONAL_SEQUENCE_RNN: float32 int8 ; asymmetricQuantizeInputs=1 = 3
BIDIRECTIONAL_SEQUENCE_LSTM: float32 int8 ; asymmetricQuantizeInputs=1 = 3
DYNAMIC_UPDATE_SLICE: float32 float32 int32 = 1
DYNAMIC_UPDATE_SLICE: float32 float32 int64 = 2
DYNAMIC_UPDATE_SLICE: float16 float16 int32 = 3
DYNAMIC_UPDATE_SLICE: int16 int16 int32 = 4
DYNAMIC_UPDATE_SLICE: int4 int4 int32 = 5
DYNAMIC_UPDATE_SLICE: bfloat16 bfloat16 int32 = 6
EMBEDDING_LOOKUP: int32 float32 -> float32 = 1
EMBEDDING_LOOKUP: int32 int4 -> float32 | int32 int8/2*4 -> float32 = 4
EMBEDDING_LOOKUP: int32 int2 -> float32 = 5
FAKE_QUANT: float32 ; narrowRange=0 = 1
FAKE_QUANT: float32 ; narrowRange=1 = 2
ARG_MAX ARG_MIN: float32 -> int32 = 1
ARG_MAX ARG_MIN: int8 -> int32 = 2
ARG_MAX ARG_MIN: bool -> int32 = 3
TOPK_V2: float32 int32 -> float32 int32 = 1
TOPK_V2: int8 int32 -> int8 int32 = 2
TOPK_V2: int16 int32 -> int16 int32 | float32 int16 -> float32 int32 = 3
TOPK_V2: float32 int32 -> float32 int16 = 3
LEAKY_RELU: float32 = 1
LEAKY_RELU: int16 = 2
REVERSE_V2: float32 = 1
REVERSE_V2: bool = 2
REVERSE_V2: int8 = 3
REVERSE_V2: float8_e4m3fn = 4
SPLIT: int32 float32 -> float32 = 1
SPLIT: int32 int8 -> int8 = 2
SPLIT: int32 int32 -> int32 = 3
SPLIT: int32 int16 -> int16 = 4
SPLIT: int32 float8_e4m3fn -> float8_e4m3fn = 5
SPLIT_V: float32 = 1
SPLIT_V: int8 = 2
SPLIT_V: float8_e4m3fn = 3
WHERE: bool -> int64 = 1
WHERE: float32 -> int64 = 2
CAST: int32 -> int32 = 1
CAST: uint32 -> int32 | int32 -> uint32 = 2
CAST: int8 -> int32 | int32 -> int8 = 3
CAST: uint16 -> int32 | int32 -> uint16 = 4
CAST: float64 -> int32 | int32 -> float64 | float16 -> int32 | int32 -> float16 = 5
CAST: int4 -> float32 = 6
CAST: bfloat16 -> int32 | int32 -> bfloat16 = 7
CAST: int2 -> int32 | int32 -> int2 | uint4 -> int32 | int32 -> uint4 = 8
CAST: float8_e4m3fn -> float32 | float32 -> float8_e5m2 = 9
RESHAPE ELU CUMSUM RFFT2D: float32 = 1
"""
