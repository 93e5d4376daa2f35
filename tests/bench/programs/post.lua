-- What wrk sends (BODY names a file, KEY is the API key), and how it reports: `tests.bench.results.Load`.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")
file:close()

local report = '{"answered":%d,"failed":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"max_us":%d}\n'

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(report,
    summary.requests - errors.status,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), latency.max))
end
