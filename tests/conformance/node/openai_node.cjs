// OpenAI's own client for Node on every endpoint that is claimed. It ends with a line that tells what was called.
"use strict";

const assert = require("node:assert/strict");
const { test, after } = require("node:test");
const OpenAI = require("openai");

const model = process.env.MODEL;
const site = process.env.SITE_URL;
const called = new Set();

const client = new OpenAI({
  maxRetries: 0,
  fetch: async (url, options) => {
    called.add(`${options.method.toUpperCase()} ${new URL(url).pathname}`);
    return fetch(url, options);
  },
});
const root = client.withOptions({ baseURL: site });
const say = [{ role: "user", content: "What is a penstock?" }];
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const tool = { type: "function", function: { name: "get_weather", parameters } };

async function all(stream) {
  const told = [];
  for await (const one of stream) told.push(one);
  return told;
}

function isWeather(text) {
  const given = JSON.parse(text);
  assert.deepEqual(Object.keys(given).sort(), ["city", "days"]);
  assert.equal(typeof given.city, "string");
  assert.ok(Number.isInteger(given.days) && given.days >= 1 && given.days <= 9);
}

after(() => console.log(`called: ${JSON.stringify([...called])}`));

test("a chat", async () => {
  const answer = await client.chat.completions.create({ model, messages: say });
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.match(answer._request_id, /^req_/);
});

test("a chat streamed, with its usage", async () => {
  const asked = { model, messages: say, seed: 7 };
  const whole = await client.chat.completions.create(asked);
  const streamed = { ...asked, stream: true, stream_options: { include_usage: true } };
  const chunks = await all(await client.chat.completions.create(streamed));
  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  assert.equal(text, whole.choices[0].message.content);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
});

test("the helper for streams", async () => {
  const stream = client.chat.completions.stream({ model, messages: say });
  let heard = "";
  stream.on("content", (delta) => (heard += delta));
  assert.equal((await stream.finalChatCompletion()).choices[0].message.content, heard);
});

test("several choices, logprobs, stops and limits", async () => {
  const more = { n: 3, logprobs: true, top_logprobs: 2, max_completion_tokens: 5, stop: ["zzz"] };
  const answer = await client.chat.completions.create({ model, messages: say, ...more });
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1, 2]);
  for (const choice of answer.choices) {
    assert.equal(choice.finish_reason, "length");
    assert.equal(choice.logprobs.content.length, 5);
    assert.equal(choice.logprobs.content[0].top_logprobs.length, 2);
  }
});

test("a tool that has to be called, and what comes after its answer", async () => {
  const tool_choice = { type: "function", function: { name: "get_weather" } };
  const answer = await client.chat.completions.create({ model, messages: say, tools: [tool], tool_choice });
  const message = answer.choices[0].message;
  isWeather(message.tool_calls[0].function.arguments);
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "It rains." };
  const messages = [...say, message, result];
  const after = await client.chat.completions.create({ model, messages, tools: [tool] });
  assert.equal(after.choices[0].finish_reason, "stop");
});

test("a tool called in a stream, and the helper that runs tools", async () => {
  const asked = { model, messages: say, tools: [tool], tool_choice: "required", stream: true };
  const chunks = await all(await client.chat.completions.create(asked));
  const calls = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
  isWeather(calls.map((call) => call.function?.arguments ?? "").join(""));
  const runs = { ...tool.function, parse: JSON.parse, function: ({ city }) => `It rains in ${city}.` };
  const messages = [{ role: "user", content: "Call get_weather." }];
  const tools = [{ type: "function", function: runs }];
  const content = await client.chat.completions.runTools({ model, messages, tools }).finalContent();
  assert.match(content, /It rains/);
});

test("an answer that follows a schema", async () => {
  const json_schema = { name: "weather", strict: true, schema: parameters };
  const response_format = { type: "json_schema", json_schema };
  const answer = await client.chat.completions.parse({ model, messages: say, response_format });
  isWeather(answer.choices[0].message.content);
});

test("a completion, whole and streamed", async () => {
  const asked = { model, prompt: ["One.", "Two."], max_tokens: 6, seed: 7 };
  const whole = await client.completions.create(asked);
  assert.deepEqual(whole.choices.map((choice) => choice.index), [0, 1]);
  const chunks = await all(await client.completions.create({ ...asked, prompt: "One.", stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""), whole.choices[0].text);
});

test("embeddings, as numbers and as the client asks by itself", async () => {
  const asked = { model, input: ["a", "b"], dimensions: 8 };
  const numbers = await client.embeddings.create({ ...asked, encoding_format: "float" });
  const packed = await client.embeddings.create(asked);
  assert.deepEqual(numbers.data.map((row) => [row.index, row.embedding.length]), [[0, 8], [1, 8]]);
  packed.data.forEach((row, at) =>
    row.embedding.forEach((value, dimension) =>
      assert.ok(Math.abs(value - numbers.data[at].embedding[dimension]) < 1e-6)),
  );
});

test("a response, whole and streamed", async () => {
  const whole = await client.responses.create({ model, input: "Hi.", instructions: "Be brief." });
  assert.equal(whole.status, "completed");
  assert.ok(whole.output_text);
  const events = await all(await client.responses.create({ model, input: "Hi.", stream: true }));
  assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
  assert.equal(events[0].type, "response.created");
  assert.equal(events.at(-1).type, "response.completed");
  const helped = await client.responses.stream({ model, input: "Hi." }).finalResponse();
  assert.ok(helped.output_text);
});

test("a response that calls a function, is told its answer, and follows a schema", async () => {
  const tools = [{ type: "function", name: "get_weather", parameters, strict: true }];
  const input = [{ role: "user", content: "Hi." }];
  const first = await client.responses.create({ model, input, tools, tool_choice: "required" });
  const call = first.output.find((item) => item.type === "function_call");
  isWeather(call.arguments);
  const output = { type: "function_call_output", call_id: call.call_id, output: "It rains." };
  const second = await client.responses.create({ model, input: [...input, ...first.output, output], tools });
  assert.match(second.output_text, /It rains/);
  const format = { type: "json_schema", name: "weather", strict: true, schema: parameters };
  const third = await client.responses.parse({ model, input, text: { format } });
  isWeather(third.output_text);
});

test("a response that is kept: read, its items listed, deleted", async () => {
  const input = ["One.", "Two."].map((content) => ({ role: "user", content }));
  const made = await client.responses.create({ model, input, store: true });
  assert.equal((await client.responses.retrieve(made.id)).output_text, made.output_text);
  const items = await all(client.responses.inputItems.list(made.id, { limit: 1 }));
  assert.deepEqual(items.map((item) => item.content[0].text), ["Two.", "One."]);
  await client.responses.delete(made.id);
  await assert.rejects(client.responses.retrieve(made.id), OpenAI.NotFoundError);
});

test("a response in the background: followed, resumed, read, cancelled", async () => {
  const asked = { model, input: "Hi.", background: true, stream: true };
  const events = await all(await client.responses.create(asked));
  const name = events[0].response.id;
  assert.equal(events[0].response.status, "queued");
  assert.equal(events.at(-1).type, "response.completed");
  const rest = await all(await client.responses.retrieve(name, { stream: true, starting_after: 5 }));
  assert.deepEqual(rest, events.slice(6));
  const helped = await client.responses.stream({ response_id: name }).finalResponse();
  assert.ok(helped.output_text);
  const cancelled = await client.responses.cancel(name);
  assert.equal(cancelled.status, "completed");
  assert.equal(cancelled.output[0].content[0].text, helped.output_text);
});

test("a call that is retried under its key", async () => {
  const options = { headers: { "idempotency-key": "order-4712" } };
  const calls = [];
  for (let i = 0; i < 2; i++)
    calls.push(await client.chat.completions.create({ model, messages: say }, options).withResponse());
  assert.deepEqual(calls[1].data, calls[0].data);
  assert.equal(calls[1].response.headers.get("idempotent-replayed"), "true");
});

test("models", async () => {
  const listed = await all(client.models.list());
  assert.ok(listed.some((row) => row.id === model));
  assert.equal((await client.models.retrieve(model)).object, "model");
});

test("a queued request: handed in, awaited, cancelled", async () => {
  const queued = await client.post("/requests", { body: { model, messages: say } });
  const read = await client.get(`/requests/${queued.id}`, { query: { wait: 30 } });
  assert.equal(read.status, "completed");
  assert.equal(read.response.body.object, "chat.completion");
  const cancelled = await client.post(`/requests/${queued.id}/cancel`);
  assert.equal(cancelled.status, "completed");
});

test("health and readiness", async () => {
  assert.equal((await root.get("/health").asResponse()).status, 200);
  assert.equal((await root.get("/ready").asResponse()).status, 200);
});

test("errors are of the client's own classes", async () => {
  const wrong = client.withOptions({ apiKey: "psk_wrong" });
  await assert.rejects(wrong.models.list(), OpenAI.AuthenticationError);
  await assert.rejects(client.models.retrieve("gpt-9"), OpenAI.NotFoundError);
  const named = (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found";
  await assert.rejects(client.chat.completions.create({ model: "gpt-9", messages: say }), named);
  const placed = (error) => error instanceof OpenAI.BadRequestError && error.param === "input";
  await assert.rejects(client.embeddings.create({ model, input: [] }), placed);
  await assert.rejects(client.responses.create({ model, input: [] }), placed);
});
