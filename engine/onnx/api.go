package onnx

import "serval"

// The functions of ONNX Runtime's OrtApi that this package calls, as places in its table. The table is only ever appended
// to, so that a place, once read from onnxruntime_c_api.h (API version 24), holds for every later release.
type function int

const (
	apiVersion = 24 // first released with ONNX Runtime 1.24
	oldest     = "1.24"
	tableLen   = 415 // functions in the table of apiVersion
)

const (
	fnGetErrorCode                                    function = 1
	fnGetErrorMessage                                 function = 2
	fnCreateEnv                                       function = 3
	fnDisableTelemetryEvents                          function = 6
	fnCreateSession                                   function = 7
	fnRun                                             function = 9
	fnCreateSessionOptions                            function = 10
	fnSetSessionExecutionMode                         function = 13
	fnEnableProfiling                                 function = 14
	fnDisableMemPattern                               function = 17
	fnDisableCpuMemArena                              function = 19
	fnSetSessionLogSeverityLevel                      function = 22
	fnSetSessionGraphOptimizationLevel                function = 23
	fnSetIntraOpNumThreads                            function = 24
	fnSetInterOpNumThreads                            function = 25
	fnSessionGetInputCount                            function = 30
	fnSessionGetOutputCount                           function = 31
	fnSessionGetOverridableInitializerCount           function = 32
	fnSessionGetInputTypeInfo                         function = 33
	fnSessionGetOutputTypeInfo                        function = 34
	fnSessionGetOverridableInitializerTypeInfo        function = 35
	fnSessionGetInputName                             function = 36
	fnSessionGetOutputName                            function = 37
	fnSessionGetOverridableInitializerName            function = 38
	fnCreateTensorAsOrtValue                          function = 48
	fnCreateTensorWithDataAsOrtValue                  function = 49
	fnGetTensorMutableData                            function = 51
	fnFillStringTensor                                function = 52
	fnGetStringTensorDataLength                       function = 53
	fnGetStringTensorContent                          function = 54
	fnCastTypeInfoToTensorInfo                        function = 55
	fnGetOnnxTypeFromTypeInfo                         function = 56
	fnGetTensorElementType                            function = 60
	fnGetDimensionsCount                              function = 61
	fnGetDimensions                                   function = 62
	fnGetSymbolicDimensions                           function = 63
	fnCreateCpuMemoryInfo                             function = 69
	fnAllocatorFree                                   function = 76
	fnGetAllocatorWithDefaultOptions                  function = 78
	fnGetValue                                        function = 80
	fnGetValueCount                                   function = 81
	fnReleaseStatus                                   function = 93
	fnReleaseMemoryInfo                               function = 94
	fnReleaseSession                                  function = 95
	fnReleaseValue                                    function = 96
	fnReleaseTypeInfo                                 function = 98
	fnReleaseSessionOptions                           function = 100
	fnCastTypeInfoToMapTypeInfo                       function = 103
	fnCastTypeInfoToSequenceTypeInfo                  function = 104
	fnGetMapKeyType                                   function = 105
	fnGetMapValueType                                 function = 106
	fnGetSequenceElementType                          function = 107
	fnSessionEndProfiling                             function = 110
	fnGetAvailableProviders                           function = 125
	fnReleaseAvailableProviders                       function = 126
	fnAddSessionConfigEntry                           function = 130
	fnSessionOptionsAppendExecutionProviderTensorRTV2 function = 170
	fnCreateTensorRTProviderOptions                   function = 171
	fnUpdateTensorRTProviderOptions                   function = 172
	fnReleaseTensorRTProviderOptions                  function = 174
	fnSessionOptionsAppendExecutionProviderCUDAV2     function = 204
	fnCreateCUDAProviderOptions                       function = 205
	fnUpdateCUDAProviderOptions                       function = 206
	fnReleaseCUDAProviderOptions                      function = 208
	fnSessionOptionsAppendExecutionProvider           function = 216
	fnRegisterCustomOpsLibraryV2                      function = 228
	fnGetResizedStringTensorElementBuffer             function = 252
	fnSessionOptionsSetLoadCancellationFlag           function = 293
	fnTensorTypeAndShapeHasShape                      function = 390
	fnGetTensorElementTypeAndShapeDataReference       function = 414
)

// elementType is C's ONNXTensorElementDataType.
type elementType int32

// dtypes has this server's type for each of ONNX Runtime's; InvalidType where the Open Inference Protocol has none.
var dtypes = [...]serval.DType{
	1: serval.FP32, 2: serval.Uint8, 3: serval.Int8, 4: serval.Uint16, 5: serval.Int16, 6: serval.Int32, 7: serval.Int64,
	8: serval.Bytes, 9: serval.Bool, 10: serval.FP16, 11: serval.FP64, 12: serval.Uint32, 13: serval.Uint64, 16: serval.BF16,
}

// otherTypes names the element types that cannot be served.
var otherTypes = map[elementType]string{
	0: "undefined", 14: "complex64", 15: "complex128", 17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2",
	20: "float8e5m2fnuz", 21: "uint4", 22: "int4", 23: "float4e2m1", 24: "uint2", 25: "int2", 26: "float8e8m0",
}

const elementString elementType = 8

func (e elementType) dtype() serval.DType {
	if e < 0 || int(e) >= len(dtypes) {
		return serval.InvalidType
	}
	return dtypes[e]
}

// C's ONNXType.
const (
	typeTensor   = 1
	typeSequence = 2
	typeMap      = 3
)

// typeNames are C's ONNXType in words.
var typeNames = [...]string{"an unknown type", "a tensor", "a sequence", "a map", "an opaque type", "a sparse tensor", "an optional type"}
