// A Triton backend around ONNX Runtime for the benchmark's net (FP32 x[n,30] -> p[n,1]): the least that can stand between
// Triton's core and the library, so that the comparison does not end at Triton's Python backend.
//
// PyPI's nvidia-pytriton ships Triton without its headers. What is used of its backend API is declared here, by its
// documented names and arguments (API version 1).
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnxruntime_c_api.h"

typedef struct TRITONSERVER_Error Error;
typedef struct TRITONBACKEND_ModelInstance Instance;
typedef struct TRITONBACKEND_Request Request;
typedef struct TRITONBACKEND_Response Response;
typedef struct TRITONBACKEND_Input Input;
typedef struct TRITONBACKEND_Output Output;

enum { ERROR_INTERNAL = 1, ERROR_INVALID_ARG = 3, TYPE_FP32 = 11, MEMORY_CPU = 0, FINAL = 1, RELEASE_ALL = 1 };

Error *TRITONSERVER_ErrorNew(int code, const char *message);
void TRITONSERVER_ErrorDelete(Error *);
Error *TRITONBACKEND_ModelInstanceState(Instance *, void **state);
Error *TRITONBACKEND_ModelInstanceSetState(Instance *, void *state);
Error *TRITONBACKEND_RequestInput(Request *, const char *name, Input **);
Error *TRITONBACKEND_RequestRelease(Request *, uint32_t flags);
Error *TRITONBACKEND_InputProperties(Input *, const char **name, int *datatype, const int64_t **shape, uint32_t *dims,
                                     uint64_t *bytes, uint32_t *buffers);
Error *TRITONBACKEND_InputBuffer(Input *, uint32_t index, const void **buffer, uint64_t *bytes, int *memory, int64_t *id);
Error *TRITONBACKEND_ResponseNew(Response **, Request *);
Error *TRITONBACKEND_ResponseOutput(Response *, Output **, const char *name, int datatype, const int64_t *shape, uint32_t dims);
Error *TRITONBACKEND_OutputBuffer(Output *, void **buffer, uint64_t bytes, int *memory, int64_t *id);
Error *TRITONBACKEND_ResponseSend(Response *, uint32_t flags, Error *);

enum { FEATURES = 30, MAX_ROWS = 64 }; // MAX_ROWS is config.pbtxt's max_batch_size

// One instance: Triton never calls one from two threads at a time.
typedef struct {
  OrtSession *session;
  OrtMemoryInfo *memory;
  float x[MAX_ROWS * FEATURES], p[MAX_ROWS];
} State;

static const OrtApi *api;
static OrtEnv *env;

static Error *fromOrt(OrtStatus *status) {
  if (status == NULL) return NULL;
  Error *error = TRITONSERVER_ErrorNew(ERROR_INTERNAL, api->GetErrorMessage(status));
  api->ReleaseStatus(status);
  return error;
}

#define TRY(call)                        \
  do {                                   \
    Error *error_ = (call);              \
    if (error_ != NULL) return error_;   \
  } while (0)

Error *TRITONBACKEND_Initialize(void *backend) {
  (void)backend;
  api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (api == NULL) return TRITONSERVER_ErrorNew(ERROR_INTERNAL, "ONNX Runtime is older than the header");
  return fromOrt(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "triton_c", &env));
}

Error *TRITONBACKEND_ModelInstanceInitialize(Instance *instance) {
  const char *path = getenv("MLP");
  if (path == NULL) return TRITONSERVER_ErrorNew(ERROR_INVALID_ARG, "MLP is not set to the model's path");
  State *s = calloc(1, sizeof *s);
  if (s == NULL) return TRITONSERVER_ErrorNew(ERROR_INTERNAL, "out of memory");
  OrtSessionOptions *options;
  TRY(fromOrt(api->CreateSessionOptions(&options)));
  TRY(fromOrt(api->SetIntraOpNumThreads(options, 1)));
  TRY(fromOrt(api->SetInterOpNumThreads(options, 1)));
  TRY(fromOrt(api->CreateSession(env, path, options, &s->session)));
  api->ReleaseSessionOptions(options);
  TRY(fromOrt(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &s->memory)));
  return TRITONBACKEND_ModelInstanceSetState(instance, s);
}

Error *TRITONBACKEND_ModelInstanceFinalize(Instance *instance) {
  void *state = NULL;
  TRY(TRITONBACKEND_ModelInstanceState(instance, &state));
  State *s = state;
  if (s == NULL) return NULL;
  api->ReleaseSession(s->session);
  api->ReleaseMemoryInfo(s->memory);
  free(s);
  return NULL;
}

// gather copies a request's rows behind the first `row` rows of s->x and counts them.
static Error *gather(State *s, Request *request, int row, int *rows) {
  Input *input;
  int datatype;
  const int64_t *shape;
  uint32_t dims, buffers;
  uint64_t bytes;
  *rows = 0;
  TRY(TRITONBACKEND_RequestInput(request, "x", &input));
  TRY(TRITONBACKEND_InputProperties(input, NULL, &datatype, &shape, &dims, &bytes, &buffers));
  if (datatype != TYPE_FP32 || dims != 2 || shape[1] != FEATURES || shape[0] < 0 || shape[0] > MAX_ROWS - row ||
      bytes != (uint64_t)shape[0] * FEATURES * sizeof(float))
    return TRITONSERVER_ErrorNew(ERROR_INVALID_ARG, "x: want FP32 [n,30], n at most 64");
  char *at = (char *)(s->x + row * FEATURES), *end = at + bytes;
  for (uint32_t i = 0; i < buffers; i++) {
    const void *buffer;
    uint64_t size;
    int memory = MEMORY_CPU;
    int64_t id = 0;
    TRY(TRITONBACKEND_InputBuffer(input, i, &buffer, &size, &memory, &id));
    if (memory > MEMORY_CPU + 1 || size > (uint64_t)(end - at))
      return TRITONSERVER_ErrorNew(ERROR_INTERNAL, "x: not in the processor's memory");
    memcpy(at, buffer, size);
    at += size;
  }
  *rows = (int)shape[0];
  return NULL;
}

static Error *compute(State *s, int rows) {
  const char *inputs[] = {"x"}, *outputs[] = {"p"};
  int64_t xShape[] = {rows, FEATURES}, pShape[] = {rows, 1};
  OrtValue *x = NULL, *p = NULL;
  OrtStatus *status = api->CreateTensorWithDataAsOrtValue(s->memory, s->x, (size_t)rows * FEATURES * sizeof(float), xShape, 2,
                                                          ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &x);
  if (status == NULL)
    status = api->CreateTensorWithDataAsOrtValue(s->memory, s->p, (size_t)rows * sizeof(float), pShape, 2,
                                                 ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &p);
  if (status == NULL) status = api->Run(s->session, NULL, inputs, (const OrtValue *const *)&x, 1, outputs, 1, &p);
  api->ReleaseValue(x);
  api->ReleaseValue(p);
  return fromOrt(status);
}

// fill writes a request's rows of the result into its response.
static Error *fill(Response *response, const float *p, int rows) {
  Output *output;
  void *buffer;
  int64_t shape[] = {rows, 1}, id = 0;
  int memory = MEMORY_CPU;
  TRY(TRITONBACKEND_ResponseOutput(response, &output, "p", TYPE_FP32, shape, 2));
  TRY(TRITONBACKEND_OutputBuffer(output, &buffer, (uint64_t)rows * sizeof(float), &memory, &id));
  if (memory > MEMORY_CPU + 1) return TRITONSERVER_ErrorNew(ERROR_INTERNAL, "p: not in the processor's memory");
  memcpy(buffer, p, (size_t)rows * sizeof(float));
  return NULL;
}

static void report(Error *error) {
  if (error == NULL) return;
  fputs("triton_c: a call into Triton failed\n", stderr);
  TRITONSERVER_ErrorDelete(error);
}

// Execute answers every request of a batch; Triton keeps their rows together within max_batch_size.
Error *TRITONBACKEND_ModelInstanceExecute(Instance *instance, Request **requests, const uint32_t count) {
  void *state;
  TRY(TRITONBACKEND_ModelInstanceState(instance, &state));
  State *s = state;
  int rows[MAX_ROWS], total = 0;
  Error *errors[MAX_ROWS];
  if (count > MAX_ROWS) return TRITONSERVER_ErrorNew(ERROR_INTERNAL, "a batch of more than max_batch_size requests");
  for (uint32_t i = 0; i < count; i++) {
    errors[i] = gather(s, requests[i], total, &rows[i]);
    total += rows[i];
  }
  Error *failed = total > 0 ? compute(s, total) : NULL;
  for (uint32_t i = 0, row = 0; i < count; i++) {
    Response *response;
    report(TRITONBACKEND_ResponseNew(&response, requests[i]));
    Error *error = errors[i];
    if (error == NULL && failed != NULL) error = TRITONSERVER_ErrorNew(ERROR_INTERNAL, "ONNX Runtime failed");
    if (error == NULL) error = fill(response, s->p + row, rows[i]);
    row += (uint32_t)rows[i];
    report(TRITONBACKEND_ResponseSend(response, FINAL, error));
    if (error != NULL) TRITONSERVER_ErrorDelete(error);
    report(TRITONBACKEND_RequestRelease(requests[i], RELEASE_ALL));
  }
  report(failed);
  return NULL;
}
