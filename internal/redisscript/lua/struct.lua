local struct = rawget(_G, 'struct')
if not struct then -- a server whose Lua lacks it: the part of it that is used here
  struct = {}

  local function packDouble(x)
    local sign, bits, exponent = 0, 0, 0
    if x < 0 or 1 / x < 0 then
      sign, x = 128, -x
    end
    if x ~= x then
      bits, exponent = 0.5, 2047
    elseif x == math.huge then
      exponent = 2047
    elseif x > 0 then
      bits, exponent = math.frexp(x)
      exponent = exponent + 1022
      if exponent > 0 then
        bits = bits * 2 - 1
      else -- subnormal
        bits, exponent = math.ldexp(bits, exponent), 0
      end
    end
    bits = bits * 16 -- the highest four bits of 52 share a byte with the exponent
    local high = math.floor(bits)
    local out = { string.char((exponent % 16) * 16 + high), string.char(sign + math.floor(exponent / 16)) }
    for _ = 1, 6 do
      bits = (bits - high) * 256
      high = math.floor(bits)
      table.insert(out, 1, string.char(high))
    end
    return table.concat(out)
  end

  local function unpackDouble(text, at)
    local bits = 0
    for i = at, at + 5 do
      bits = (bits + byte(text, i)) / 256
    end
    local high, top = byte(text, at + 6, at + 7)
    bits = (bits + high % 16) / 16
    local sign = 1
    if top >= 128 then
      sign, top = -1, top - 128
    end
    local exponent = top * 16 + math.floor(high / 16)
    if exponent == 2047 then
      return bits == 0 and sign * math.huge or 0 / 0
    elseif exponent == 0 then
      return sign * math.ldexp(bits, -1022)
    end
    return sign * math.ldexp(1 + bits, exponent - 1023)
  end

  local sizeOf = { B = 1, H = 2, I4 = 4 }

  function struct.pack(format, ...)
    local out, values = {}, { ... }
    local i = 0
    for kind in string.gmatch(format, '%a%d*') do
      i = i + 1
      if kind == 'd' then
        out[#out + 1] = packDouble(values[i])
      elseif kind == 'c0' then
        out[#out + 1] = values[i]
      else
        local x = values[i]
        for _ = 1, sizeOf[kind] do
          out[#out + 1] = string.char(x % 256)
          x = math.floor(x / 256)
        end
      end
    end
    return table.concat(out)
  end

  function struct.unpack(format, text, at)
    local values = {}
    for kind in string.gmatch(format, '%a%d*') do
      if kind == 'd' then
        values[#values + 1] = unpackDouble(text, at)
        at = at + 8
      else
        local x = 0
        for i = at + sizeOf[kind] - 1, at, -1 do
          x = x * 256 + byte(text, i)
        end
        values[#values + 1] = x
        at = at + sizeOf[kind]
      end
    end
    values[#values + 1] = at
    local unpack = rawget(_G, 'unpack') or table.unpack
    return unpack(values)
  end
end
