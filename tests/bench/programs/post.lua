-- What wrk sends, and how it reports: `tests.bench.results.Load`. BODY names a file, KEY is the API key; where
-- KEYS names a file with keys, one a line, each call has the next one.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")
file:close()

if os.getenv("KEYS") then
  local keys, turn = {}, 0
  for key in io.lines(os.getenv("KEYS")) do keys[#keys + 1] = "Bearer " .. key end
  request = function()
    turn = turn % #keys + 1
    wrk.headers["Authorization"] = keys[turn]
    return wrk.format()
  end
end

local report = '{"answered":%d,"failed":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"max_us":%d}\n'

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(report,
    summary.requests - errors.status,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), latency.max))
end
