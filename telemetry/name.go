package telemetry

// The names of the metrics. Dashboards and alerts rely on them: add, never rename.
const (
	nameBuildInfo = "serval_build_info"

	// Of the requests, as callers see them.
	nameRequestDuration = "serval_request_duration_seconds"
	nameInFlight        = "serval_requests_in_flight"
	nameAccessDropped   = "serval_access_log_dropped_total"
	nameSpansSent       = "serval_trace_spans_sent_total"
	nameSpansLost       = "serval_trace_spans_lost_total"

	// Of a model's version.
	nameReady      = "serval_model_ready"
	nameMemory     = "serval_model_memory_bytes"
	nameRestarts   = "serval_model_process_restarts_total"
	nameProcess    = "serval_model_process_memory_bytes"
	nameLoadTime   = "serval_model_load_seconds"
	nameLoaded     = "serval_model_loaded_timestamp_seconds"
	nameInstances  = "serval_model_instances"
	nameBatching   = "serval_model_batching"
	nameWaiting    = "serval_model_waiting"
	nameSequences  = "serval_model_sequences"
	nameInferences = "serval_model_inferences_total"
	nameExecutions = "serval_model_executions_total"
	nameCalls      = "serval_model_calls_total"
	nameCallTime   = "serval_model_call_seconds_total"
	nameQueue      = "serval_model_queue_seconds_total"
	nameInput      = "serval_model_input_seconds_total"
	nameCompute    = "serval_model_compute_seconds_total"
	nameOutput     = "serval_model_output_seconds_total"
	nameBatchRows  = "serval_model_batch_rows"
	nameClosed     = "serval_model_batch_closed_total"
	nameRejected   = "serval_model_rejected_total"

	// Of models of text.
	nameFirstToken = "serval_time_to_first_token_seconds"
	nameEachToken  = "serval_time_per_output_token_seconds"
	nameTokens     = "serval_tokens_total"

	// Of streams of messages.
	nameStreamInfo     = "serval_stream_info"
	nameStreamRunning  = "serval_stream_running"
	nameStreamLag      = "serval_stream_lag_messages"
	nameStreamInFlight = "serval_stream_in_flight_messages"
	nameStreamBytes    = "serval_stream_in_flight_bytes"
	nameStreamOldest   = "serval_stream_oldest_seconds"
	nameStreamLast     = "serval_stream_last_written_timestamp_seconds"
	nameStreamRead     = "serval_stream_read_total"
	nameStreamWritten  = "serval_stream_written_total"
	nameStreamDead     = "serval_stream_dead_letters_total"
	nameStreamDropped  = "serval_stream_dropped_total"
	nameStreamRetries  = "serval_stream_retries_total"
	nameStreamAborted  = "serval_stream_transactions_undone_total"
	nameStreamCalls    = "serval_stream_calls_total"
	nameStreamHanded   = "serval_stream_partitions_handed_over_total"
	nameStreamAge      = "serval_stream_age_seconds"

	nameComparePairs      = "serval_stream_compare_pairs_total"
	nameCompareEqual      = "serval_stream_compare_equal_labels_total"
	nameCompareDifferent  = "serval_stream_compare_different_labels_total"
	nameCompareDifference = "serval_stream_compare_mean_difference"
	nameCompareAlone      = "serval_stream_compare_alone_total"
	nameCompareWaiting    = "serval_stream_compare_waiting"
	nameCompareAge        = "serval_stream_compare_age_p99_seconds"
	nameCompareAccuracy   = "serval_stream_compare_accuracy"
	nameCompareAUC        = "serval_stream_compare_auc"
	nameCompareMAE        = "serval_stream_compare_mean_absolute_error"

	// vLLM's, so that its dashboards and the autoscalers that read them work; see its docs/usage/metrics.md.
	nameVLLMRunning    = "vllm:num_requests_running"
	nameVLLMWaiting    = "vllm:num_requests_waiting"
	nameVLLMPrompt     = "vllm:prompt_tokens_total"
	nameVLLMGeneration = "vllm:generation_tokens_total"
	nameVLLMCache      = "vllm:kv_cache_usage_perc"
	nameVLLMQueries    = "vllm:prefix_cache_queries_total"
	nameVLLMHits       = "vllm:prefix_cache_hits_total"
	nameVLLMFirst      = "vllm:time_to_first_token_seconds"
	nameVLLMEach       = "vllm:time_per_output_token_seconds"
	nameVLLMLatency    = "vllm:e2e_request_latency_seconds"
	nameVLLMSuccess    = "vllm:request_success_total"

	// Triton's, so that its dashboards work; see its docs/user_guide/metrics.md.
	nameTritonSuccess  = "nv_inference_request_success"
	nameTritonFailure  = "nv_inference_request_failure"
	nameTritonCount    = "nv_inference_count"
	nameTritonExec     = "nv_inference_exec_count"
	nameTritonDuration = "nv_inference_request_duration_us"
	nameTritonQueue    = "nv_inference_queue_duration_us"
	nameTritonInput    = "nv_inference_compute_input_duration_us"
	nameTritonInfer    = "nv_inference_compute_infer_duration_us"
	nameTritonOutput   = "nv_inference_compute_output_duration_us"
	nameTritonPending  = "nv_inference_pending_request_count"
)

// The labels of the metrics.
const (
	labelModel    = "model"
	labelVersion  = "version"
	labelProtocol = "protocol"
	labelCode     = "code"
	labelReason   = "reason"
	labelResult   = "result"
	labelEngine   = "engine"
	labelKind     = "kind"
	labelVLLM     = "model_name"
	labelFinished = "finished_reason"
	labelStream   = "stream"
	labelChampion = "champion"
	labelRival    = "challenger"
	labelState    = "state"
	labelDelivery = "delivery"
)

// codeOK is the code of a request that succeeded, in metrics, logs and traces.
const codeOK = "ok"

// The names in the access log.
const (
	keyID       = "id"
	keyTenant   = "tenant"
	keyProtocol = "protocol"
	keyModel    = "model"
	keyVersion  = "version"
	keyCode     = "code"
	keyError    = "error"
	keyQueue    = "queue_us"
	keyInput    = "input_us"
	keyCompute  = "compute_us"
	keyOutput   = "output_us"
	keyTotal    = "total_us"
	keyBatch    = "batch"
)

// The names of spans and their attributes.
const (
	spanRequest = "request"
	spanQueue   = "queue"
	spanInput   = "input"
	spanCompute = "compute"
	spanOutput  = "output"

	attributeID       = "serval.request.id"
	attributeTenant   = "serval.tenant"
	attributeProtocol = "serval.protocol"
	attributeModel    = "serval.model.name"
	attributeVersion  = "serval.model.version"
	attributeCode     = "serval.code"
	attributeBatch    = "serval.batch.rows"
)
