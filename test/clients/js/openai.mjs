// The official openai client for JavaScript, unchanged. SERVAL_HTTP says where the server is.
import assert from 'node:assert/strict'
import test from 'node:test'
import OpenAI, { toFile } from 'openai'

const client = new OpenAI({ baseURL: `http://${process.env.SERVAL_HTTP}/v1`, apiKey: 'none', maxRetries: 0 })
const model = 'chat'
const messages = [{ role: 'user', content: 'Write the word banana.' }]

test('a chat, whole and streamed', async () => {
  const args = { model, messages, temperature: 0, max_tokens: 24 }
  const whole = await client.chat.completions.create(args)
  assert.match(whole.choices[0].message.content, /banana/)
  let text = ''
  let usage
  for await (const chunk of await client.chat.completions.create({ ...args, stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta?.content ?? ''
    usage = chunk.usage ?? usage
  }
  assert.equal(text, whole.choices[0].message.content)
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens)
})

test('tools, by the stream helper', async () => {
  const tools = [{ type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string', enum: ['Paris', 'Rome'] } }, required: ['city'], additionalProperties: false } } }]
  const runner = client.chat.completions.stream({ model, messages, tools, tool_choice: 'required', parallel_tool_calls: false, temperature: 0, max_tokens: 100 })
  const final = await runner.finalChatCompletion()
  const call = final.choices[0].message.tool_calls[0]
  assert.equal(call.function.name, 'get_weather')
  assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ['city'])
})

test('a schema', async () => {
  const schema = { type: 'object', properties: { age: { type: 'integer', minimum: 0, maximum: 150 } }, required: ['age'], additionalProperties: false }
  const r = await client.chat.completions.create({ model, messages, max_tokens: 60, response_format: { type: 'json_schema', json_schema: { name: 'a', schema, strict: true } } })
  assert.deepEqual(Object.keys(JSON.parse(r.choices[0].message.content)), ['age'])
})

test('embeddings', async () => {
  const r = await client.embeddings.create({ model, input: ['a cat', 'a dog'] })
  assert.equal(r.data.length, 2)
  assert.ok(Math.abs(r.data[0].embedding.reduce((s, x) => s + x * x, 0) - 1) < 1e-3)
})

test('responses', async () => {
  const r = await client.responses.create({ model, input: 'Write the word banana.', temperature: 0, max_output_tokens: 24 })
  assert.match(r.output_text, /banana/)
})

test('errors', async () => {
  await assert.rejects(client.chat.completions.create({ model: 'nobody', messages }), (e) => e instanceof OpenAI.NotFoundError && e.code === 'model_not_found')
  await assert.rejects(client.chat.completions.create({ model, messages: [] }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'messages')
})

test('a client that stops reading', async () => {
  const stream = await client.chat.completions.create({ model, messages, stream: true, max_tokens: 1500, ignore_eos: true })
  for await (const _ of stream) break
  stream.controller.abort()
  const r = await client.chat.completions.create({ model, messages, max_tokens: 2 })
  assert.ok(r.choices[0].finish_reason)
})

test('a batch', async () => {
  const lines = ['a', 'b', 'c'].map((id) => JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/embeddings', body: { model, input: id } }))
  const file = await client.files.create({ purpose: 'batch', file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl') })
  let batch = await client.batches.create({ input_file_id: file.id, endpoint: '/v1/embeddings', completion_window: '24h', metadata: { a: 'b' } })
  while (['validating', 'in_progress', 'finalizing'].includes(batch.status)) {
    await new Promise((done) => setTimeout(done, 50))
    batch = await client.batches.retrieve(batch.id)
  }
  assert.equal(batch.status, 'completed')
  const out = (await (await client.files.content(batch.output_file_id)).text()).trim().split('\n').map((l) => JSON.parse(l))
  assert.deepEqual(out.map((l) => l.custom_id), ['a', 'b', 'c'])
  assert.ok(out[0].response.body.data[0].embedding.length > 0)
  assert.equal((await client.files.delete(file.id)).deleted, true)
})
