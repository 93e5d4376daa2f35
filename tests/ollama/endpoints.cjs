// Every endpoint that Ollama has, and responses, with OpenAI's client for Node.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const OpenAI = require("openai");

const { BRIEF, ENDLESS } = process.env;
const client = new OpenAI({ maxRetries: 0 });
const messages = [{ role: "user", content: "What is a penstock?" }];

async function all(stream) {
  const told = [];
  for await (const one of stream) told.push(one);
  return told;
}

test("chats", async () => {
  const whole = await client.chat.completions.create({ model: BRIEF, messages });
  const chunks = await all(await client.chat.completions.create({ model: BRIEF, messages, stream: true }));
  assert.ok(whole.choices[0].message.content);
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
  assert.ok(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""));
});

test("completions", async () => {
  const asked = { model: ENDLESS, prompt: "A penstock", max_tokens: 5, ignore_eos: true };
  const whole = await client.completions.create(asked);
  const chunks = await all(await client.completions.create({ ...asked, stream: true }));
  assert.equal(whole.choices[0].finish_reason, "length");
  assert.ok(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""));
});

test("embeddings", async () => {
  const told = await client.embeddings.create({ model: BRIEF, input: ["a", "b"], encoding_format: "float" });
  assert.deepEqual(told.data.map((row) => row.index), [0, 1]);
  assert.equal(told.data[0].embedding.length, told.data[1].embedding.length);
});

test("models", async () => {
  const names = (await all(client.models.list())).map((row) => row.id);
  assert.deepEqual(names, [BRIEF, ENDLESS]);
  assert.equal((await client.models.retrieve(BRIEF)).id, BRIEF);
});

test("responses", async () => {
  const whole = await client.responses.create({ model: BRIEF, input: "Hi." });
  const events = await all(await client.responses.create({ model: BRIEF, input: "Hi.", stream: true }));
  assert.ok(whole.output_text);
  assert.equal(events.at(-1).type, "response.completed");
});
