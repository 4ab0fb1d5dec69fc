-- Health of a8s.dev/Share, from its conditions: Stalled asks for a person, Ready is the goal.
local health = {status = "Progressing", message = "Waiting for the a8s controller"}
local status = obj.status
if status == nil or status.observedGeneration == nil then
  return health
end
if obj.metadata.generation ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return health
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  return {status = "Degraded", message = found.Stalled.message}
end
if found.Ready ~= nil and found.Ready.reason == "Expired" then
  return {status = "Suspended", message = found.Ready.message}
end
if found.Ready ~= nil then
  health.message = found.Ready.message
  if found.Ready.status == "True" then
    health.status = "Healthy"
  end
end
return health
