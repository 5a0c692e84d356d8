// The part of TensorFlow Lite's C interface that the kernel of a custom op needs.
//
// An application has the real header, tflite/core/c/common.h (in older sources
// tensorflow/lite/core/c/common.h): include that one, and forget this. No wheel holds it, and the
// example is to compile without the sources of LiteRT; so here are the same structs, in as much
// of their length as is used. Their layout has not changed from TensorFlow 2.4 to LiteRT 2.3.
#ifndef TFLBUILD_EXAMPLES_TFLITE_KERNEL_H_
#define TFLBUILD_EXAMPLES_TFLITE_KERNEL_H_

#include <stddef.h>
#include <stdint.h>

extern "C" {

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteNoType = 0, kTfLiteFloat32 = 1 };

struct TfLiteIntArray {
  int size;
  int data[1];  // size of them
};

struct TfLiteTensor {
  TfLiteType type;
  union {
    void* raw;
    float* f;
  } data;
  TfLiteIntArray* dims;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  int allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  void* delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  struct {
    int type;
    void* params;
  } quantization;
  void* sparsity;
  const TfLiteIntArray* dims_signature;
};

struct TfLiteNode {
  TfLiteIntArray* inputs;   // indices into TfLiteContext::tensors
  TfLiteIntArray* outputs;
  TfLiteIntArray* intermediates;
  TfLiteIntArray* temporaries;
  void* user_data;  // what init returned
};

struct TfLiteContext {
  size_t tensors_size;
  void* GetExecutionPlan;
  TfLiteTensor* tensors;
  void* impl_;
  // Takes the array, which must come from malloc.
  TfLiteStatus (*ResizeTensor)(TfLiteContext*, TfLiteTensor*, TfLiteIntArray*);
  void (*ReportError)(TfLiteContext*, const char* format, ...);
};

struct TfLiteRegistration {
  // `buffer` holds the op's options: a FlexBuffer map of its attributes, `length` bytes.
  void* (*init)(TfLiteContext*, const char* buffer, size_t length);
  void (*free)(TfLiteContext*, void* user_data);
  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*);
  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*);
  const char* (*profiling_string)(const TfLiteContext*, const TfLiteNode*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* registration_external;
  void* async_kernel;
  uint64_t inplace_operator;
};

}  // extern "C"

#endif  // TFLBUILD_EXAMPLES_TFLITE_KERNEL_H_
