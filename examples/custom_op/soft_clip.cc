// The kernel of SoftClip, a custom op: y = x / (1 + |x|), float32, of any shape.
//
//   c++ -O2 -fPIC -shared soft_clip.cc -o libsoft_clip.so
//
// An application registers it with `resolver.AddCustom("SoftClip", Register_SOFT_CLIP())`; tflbuild
// takes the same function from the shared library.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tflite_kernel.h"

namespace {

// The output has the input's type and shape.
TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor& input = context->tensors[node->inputs->data[0]];
  TfLiteTensor& output = context->tensors[node->outputs->data[0]];
  if (input.type != kTfLiteFloat32) {
    context->ReportError(context, "SoftClip takes float32 alone");
    return kTfLiteError;
  }
  output.type = input.type;
  const size_t bytes = sizeof(int) * (1 + input.dims->size);
  auto* shape = static_cast<TfLiteIntArray*>(malloc(bytes));
  memcpy(shape, input.dims, bytes);
  return context->ResizeTensor(context, &output, shape);
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteTensor& input = context->tensors[node->inputs->data[0]];
  TfLiteTensor& output = context->tensors[node->outputs->data[0]];
  for (size_t i = 0; i < input.bytes / sizeof(float); ++i) {
    output.data.f[i] = input.data.f[i] / (1.0f + fabsf(input.data.f[i]));
  }
  return kTfLiteOk;
}

}  // namespace

extern "C" TfLiteRegistration* Register_SOFT_CLIP() {
  static TfLiteRegistration registration = {nullptr, nullptr, Prepare, Invoke};
  return &registration;
}
