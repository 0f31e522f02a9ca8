// An orbiting view of the embedded GLB: drag or arrow keys turn it, wheel, pinch or +/- zoom.
"use strict";
(() => {
  const root = document.getElementById("viewer");
  if (!root) return;
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const canvas = root.querySelector("canvas");
  const gl = canvas.getContext("webgl2", { antialias: true, alpha: true, premultipliedAlpha: true });
  if (!gl) {
    root.querySelector(".viewer-note").textContent =
      "This browser offers no WebGL 2; open scene.glb in a model viewer instead.";
    return;
  }

  // --- vectors -----------------------------------------------------------------------------------
  const add = (a, b, s = 1) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const length = (a) => Math.hypot(a[0], a[1], a[2]);
  const unit = (a) => { const n = length(a) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
  const multiply = (a, b) => {  // column-major 4x4
    const out = new Array(16).fill(0);
    for (let c = 0; c < 4; c++) for (let r = 0; r < 4; r++) for (let k = 0; k < 4; k++)
      out[4 * c + r] += a[4 * k + r] * b[4 * c + k];
    return out;
  };
  const transform = (m, p, w) =>
    [0, 1, 2].map((r) => m[r] * p[0] + m[4 + r] * p[1] + m[8 + r] * p[2] + m[12 + r] * w);

  // --- GLB ---------------------------------------------------------------------------------------
  const bytes = Uint8Array.from(atob(data.glb), (c) => c.charCodeAt(0));
  data.glb = null;
  let gltf = null, binary = null;
  for (let at = 12, view = new DataView(bytes.buffer); at + 8 <= bytes.length;) {
    const size = view.getUint32(at, true), kind = view.getUint32(at + 4, true);
    const chunk = bytes.subarray(at + 8, at + 8 + size);
    if (kind === 0x4e4f534a) gltf = JSON.parse(new TextDecoder().decode(chunk));
    if (kind === 0x004e4942) binary = chunk;
    at += 8 + size;
  }
  const READ = {
    5120: ["getInt8", 1, 127], 5121: ["getUint8", 1, 255], 5122: ["getInt16", 2, 32767],
    5123: ["getUint16", 2, 65535], 5125: ["getUint32", 4, 1], 5126: ["getFloat32", 4, 1],
  };
  const WIDTH = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4 };
  function accessor(index) {
    const a = gltf.accessors[index], view = gltf.bufferViews[a.bufferView], width = WIDTH[a.type];
    const [read, size, most] = READ[a.componentType], scale = a.normalized ? 1 / most : 1;
    const start = binary.byteOffset + (view.byteOffset || 0) + (a.byteOffset || 0);
    const stride = view.byteStride || width * size, source = new DataView(binary.buffer);
    const values = a.componentType === 5125 ? new Uint32Array(a.count * width) : new Float32Array(a.count * width);
    for (let i = 0; i < a.count; i++) for (let k = 0; k < width; k++)
      values[i * width + k] = scale * source[read](start + i * stride + k * size, true);
    return { values, width, count: a.count };
  }
  function nodeMatrix(node) {
    if (node.matrix) return node.matrix;
    const [x, y, z, w] = node.rotation || [0, 0, 0, 1], s = node.scale || [1, 1, 1], t = node.translation || [0, 0, 0];
    return [
      s[0] * (1 - 2 * (y * y + z * z)), s[0] * 2 * (x * y + z * w), s[0] * 2 * (x * z - y * w), 0,
      s[1] * 2 * (x * y - z * w), s[1] * (1 - 2 * (x * x + z * z)), s[1] * 2 * (y * z + x * w), 0,
      s[2] * 2 * (x * z + y * w), s[2] * 2 * (y * z - x * w), s[2] * (1 - 2 * (x * x + y * y)), 0,
      t[0], t[1], t[2], 1,
    ];
  }
  function smoothNormals(position, index) {  // one normal per place, also where a texture seam splits it
    const place = new Map(), slot = new Uint32Array(position.length / 3), sum = [];
    for (let i = 0; i < slot.length; i++) {
      const key = position[3 * i] + "," + position[3 * i + 1] + "," + position[3 * i + 2];
      if (!place.has(key)) { place.set(key, sum.length); sum.push([0, 0, 0]); }
      slot[i] = place.get(key);
    }
    const at = (i) => [position[3 * i], position[3 * i + 1], position[3 * i + 2]];
    for (let f = 0; f + 2 < index.length; f += 3) {
      const a = at(index[f]), n = cross(add(at(index[f + 1]), a, -1), add(at(index[f + 2]), a, -1));
      for (let k = 0; k < 3; k++) { const s = slot[index[f + k]]; sum[s] = add(sum[s], n); }
    }
    const out = new Float32Array(position.length);
    slot.forEach((s, i) => out.set(unit(sum[s]), 3 * i));
    return out;
  }

  function worldNormals(m, local) {  // cofactors, so that uneven scales are right too
    const [x, y, z] = [0, 1, 2].map((c) => [m[4 * c], m[4 * c + 1], m[4 * c + 2]]);
    const columns = [cross(y, z), cross(z, x), cross(x, y)], out = new Float32Array(local.length);
    for (let i = 0; i < local.length; i += 3) {
      const n = [0, 1, 2].map((r) => columns[0][r] * local[i] + columns[1][r] * local[i + 1] + columns[2][r] * local[i + 2]);
      out.set(unit(n), i);
    }
    return out;
  }

  // --- programs ----------------------------------------------------------------------------------
  function program(vertex, fragment) {
    const p = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, "#version 300 es\nprecision highp float;\n" + text);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(p, shader);
    }
    gl.linkProgram(p);
    const at = {};
    for (let i = 0; i < gl.getProgramParameter(p, gl.ACTIVE_UNIFORMS); i++) {
      const name = gl.getActiveUniform(p, i).name;
      at[name.replace("[0]", "")] = gl.getUniformLocation(p, name);
    }
    return { p, at };
  }
  const surface = program(
    `layout(location=0) in vec3 position; layout(location=1) in vec3 normal;
     layout(location=2) in vec2 uv; layout(location=3) in vec4 tint;
     uniform mat4 clip_from_world; out vec3 at, n; out vec2 st; out vec3 paint;
     void main() { at = position; n = normal; st = uv; paint = tint.rgb;
       gl_Position = clip_from_world * vec4(position, 1.0); }`,
    `in vec3 at, n; in vec2 st; in vec3 paint; out vec4 color;
     uniform sampler2D map; uniform vec3 factor, eye, up; uniform mat4 light[3]; uniform mat3 light_from_world;
     uniform int mode, lit;
     void main() {
       vec3 v = normalize(eye - at), m = normalize(n);
       if (dot(m, v) < 0.0) m = -m;
       vec3 albedo = factor * paint * texture(map, st).rgb;
       // The studio light of the clay view: a soft sky and a lamp over the viewer's shoulder.
       vec3 studio = vec3(0.35 + 0.2 * dot(m, up) + 0.55 * max(dot(m, normalize(v + 0.6 * up)), 0.0));
       vec3 shade = studio;
       if (mode == 0 && lit == 1) {
         vec4 h = vec4(light_from_world * m, 1.0);
         shade = max(vec3(dot(h, light[0] * h), dot(h, light[1] * h), dot(h, light[2] * h)), 0.0);
       }
       vec3 c = mode == 1 ? albedo : mode == 2 ? vec3(0.62, 0.60, 0.57) * studio : albedo * shade;
       c = clamp(c, 0.0, 1.0);
       color = vec4(mix(12.92 * c, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c)), 1.0);
     }`);
  const lines = program(
    `layout(location=0) in vec3 position; uniform mat4 clip_from_world;
     void main() { gl_Position = clip_from_world * vec4(position, 1.0); gl_PointSize = 2.5; }`,
    "uniform vec3 ink; out vec4 color; void main() { color = vec4(ink, 1.0); }");

  function attribute(slot, values, width) {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(slot);
    gl.vertexAttribPointer(slot, width, gl.FLOAT, false, 0, 0);
  }

  // --- textures ----------------------------------------------------------------------------------
  const textures = [];
  function texture(index) {
    const key = index === undefined ? "white" : index;
    if (textures[key]) return textures[key];
    const t = (textures[key] = gl.createTexture());
    gl.bindTexture(gl.TEXTURE_2D, t);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.SRGB8_ALPHA8, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array([255, 255, 255, 255]));
    if (index === undefined) return t;
    const source = gltf.images[gltf.textures[index].source], view = gltf.bufferViews[source.bufferView];
    const start = view.byteOffset || 0;
    const picture = new Blob([binary.subarray(start, start + view.byteLength)], { type: source.mimeType });
    createImageBitmap(picture, { colorSpaceConversion: "none", premultiplyAlpha: "none" }).then((bitmap) => {
      gl.bindTexture(gl.TEXTURE_2D, t);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.SRGB8_ALPHA8, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
      gl.generateMipmap(gl.TEXTURE_2D);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
      const sharp = gl.getExtension("EXT_texture_filter_anisotropic");
      if (sharp) gl.texParameterf(gl.TEXTURE_2D, sharp.TEXTURE_MAX_ANISOTROPY_EXT, 8);
      draw();
    });
    return t;
  }

  // --- scene -------------------------------------------------------------------------------------
  const parts = [], low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  function visit(index, parent) {
    const node = gltf.nodes[index], world = multiply(parent, nodeMatrix(node));
    for (const child of node.children || []) visit(child, world);
    if (node.mesh === undefined) return;
    for (const primitive of gltf.meshes[node.mesh].primitives) {
      if ((primitive.mode ?? 4) !== 4) continue;
      const { values: local, count } = accessor(primitive.attributes.POSITION);
      const position = new Float32Array(3 * count);
      for (let i = 0; i < count; i++) {
        const p = transform(world, local.subarray(3 * i, 3 * i + 3), 1);
        position.set(p, 3 * i);
        for (let k = 0; k < 3; k++) { low[k] = Math.min(low[k], p[k]); high[k] = Math.max(high[k], p[k]); }
      }
      const index = primitive.indices === undefined
        ? Uint32Array.from({ length: count }, (_, i) => i) : Uint32Array.from(accessor(primitive.indices).values);
      const vao = gl.createVertexArray();
      gl.bindVertexArray(vao);
      attribute(0, position, 3);
      attribute(1, primitive.attributes.NORMAL === undefined
        ? smoothNormals(position, index) : worldNormals(world, accessor(primitive.attributes.NORMAL).values), 3);
      if (primitive.attributes.TEXCOORD_0 !== undefined) attribute(2, accessor(primitive.attributes.TEXCOORD_0).values, 2);
      if (primitive.attributes.COLOR_0 !== undefined) {
        const tint = accessor(primitive.attributes.COLOR_0);
        attribute(3, tint.values, tint.width);
      } else gl.vertexAttrib4f(3, 1, 1, 1, 1);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, index, gl.STATIC_DRAW);
      const pbr = (gltf.materials?.[primitive.material] || {}).pbrMetallicRoughness || {};
      parts.push({ vao, position, count: index.length, factor: (pbr.baseColorFactor || [1, 1, 1]).slice(0, 3), map: texture(pbr.baseColorTexture?.index) });
    }
  }
  const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const roots = gltf.scenes ? gltf.scenes[gltf.scene || 0].nodes : gltf.nodes.map((_, i) => i);
  for (const node of roots) visit(node, identity);
  if (!parts.length) return;
  const centre = low.map((value, k) => (value + high[k]) / 2);
  let radius = 0;  // of the smallest sphere around the box's centre that holds the mesh
  for (const { position } of parts) for (let i = 0; i < position.length; i += 3)
    radius = Math.max(radius, Math.hypot(position[i] - centre[0], position[i + 1] - centre[1], position[i + 2] - centre[2]));
  radius = radius || 1;

  const frusta = { train: [], test: [] };
  let reach = 0;
  for (const { test, corners } of data.cameras) {
    const [c, ...rim] = corners;
    reach = Math.max(reach, length(add(c, centre, -1)));
    const tip = rim.map((p) => add(c, add(p, c, -1), 0.16 * radius));
    tip.forEach((p, k) => frusta[test ? "test" : "train"].push(...c, ...p, ...p, ...tip[(k + 1) % 4]));
  }
  const cloud = (values) => {
    const vao = gl.createVertexArray();
    gl.bindVertexArray(vao);
    attribute(0, values, 3);
    return { vao, count: values.length / 3 };
  };
  for (const kind of ["train", "test"]) frusta[kind] = cloud(new Float32Array(frusta[kind]));
  const path = cloud(new Float32Array(data.cameras.flatMap(({ corners }) => corners[0])));
  const specks = cloud(new Float32Array(Uint8Array.from(atob(data.points), (c) => c.charCodeAt(0)).buffer));
  data.points = null;

  // --- orbit -------------------------------------------------------------------------------------
  const up = unit(data.up), first = data.eye ? add(data.eye, centre, -1) : [0.5, 0.3, 1];
  let east = add(first, up, -dot(first, up));
  if (length(east) < 1e-6 * radius) east = cross(up, [up[1], up[2], -up[0]]);
  east = unit(east);
  const north = cross(up, east), fov = 0.6;
  const home = { turn: 0, tilt: Math.max(-1.2, Math.min(1.2, Math.asin(dot(unit(first), up)))), far: 1.08 * radius / Math.sin(fov / 2) };
  let view = { ...home }, mode = 0, cameras = false, points = false, idle = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let pending = false, seen = true;

  function draw() { if (!pending) { pending = true; requestAnimationFrame(paint); } }
  let before = 0;
  function paint(now) {
    pending = false;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    if (idle && seen) { view.turn += 0.0003 * Math.min(now - before, 60); draw(); }
    before = now;
    const flat = add(east.map((e) => e * Math.cos(view.turn)), north, Math.sin(view.turn));
    const back = add(flat.map((f) => f * Math.cos(view.tilt)), up, Math.sin(view.tilt));
    const eye = add(centre, back, view.far), right = unit(cross(up, back)), above = cross(back, right);
    const camera = [
      right[0], above[0], back[0], 0, right[1], above[1], back[1], 0, right[2], above[2], back[2], 0,
      -dot(right, eye), -dot(above, eye), -dot(back, eye), 1,
    ];
    const size = radius + (cameras ? reach : 0), near = Math.max(view.far - size, 0.01 * view.far), far = view.far + 2 * size;
    const t = 1 / Math.tan(fov / 2), aspect = width / height;  // the field of view spans the shorter side
    const clip = multiply([
      t / Math.max(aspect, 1), 0, 0, 0, 0, t * Math.min(aspect, 1), 0, 0,
      0, 0, (near + far) / (near - far), -1, 0, 0, (2 * near * far) / (near - far), 0,
    ], camera);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(surface.p);
    gl.uniformMatrix4fv(surface.at.clip_from_world, false, clip);
    gl.uniform3fv(surface.at.eye, eye);
    gl.uniform3fv(surface.at.up, up);
    gl.uniform1i(surface.at.mode, mode);
    gl.uniform1i(surface.at.lit, data.light ? 1 : 0);
    if (data.light) {
      gl.uniformMatrix4fv(surface.at.light, false, data.light.matrices.flat());
      // A light fixed to the camera turns with the viewer; that camera looks along -back, its y points down.
      gl.uniformMatrix3fv(surface.at.light_from_world, false, data.light.frame === "camera"
        ? [right[0], -above[0], -back[0], right[1], -above[1], -back[1], right[2], -above[2], -back[2]]
        : [1, 0, 0, 0, 1, 0, 0, 0, 1]);
    }
    for (const part of parts) {
      gl.bindTexture(gl.TEXTURE_2D, part.map);
      gl.uniform3fv(surface.at.factor, part.factor);
      gl.bindVertexArray(part.vao);
      gl.drawElements(gl.TRIANGLES, part.count, gl.UNSIGNED_INT, 0);
    }
    if (!cameras && !points) return;
    gl.useProgram(lines.p);
    gl.uniformMatrix4fv(lines.at.clip_from_world, false, clip);
    if (points) {
      gl.uniform3fv(lines.at.ink, [0.92, 0.3, 0.5]);
      gl.bindVertexArray(specks.vao);
      gl.drawArrays(gl.POINTS, 0, specks.count);
    }
    if (!cameras) return;
    gl.uniform3fv(lines.at.ink, [0.5, 0.52, 0.55]);
    gl.bindVertexArray(path.vao);
    gl.drawArrays(gl.LINE_STRIP, 0, path.count);
    for (const [kind, ink] of [["train", [0.23, 0.51, 0.96]], ["test", [0.95, 0.55, 0.1]]]) {
      gl.uniform3fv(lines.at.ink, ink);
      gl.bindVertexArray(frusta[kind].vao);
      gl.drawArrays(gl.LINES, 0, frusta[kind].count);
    }
  }

  // --- hands -------------------------------------------------------------------------------------
  const limit = (value, a, b) => Math.max(a, Math.min(b, value));
  function move(turn, tilt, zoom) {
    idle = false;
    view.turn -= turn;
    view.tilt = limit(view.tilt + tilt, -1.55, 1.55);
    view.far = limit(view.far * zoom, 0.2 * home.far, 4 * Math.max(home.far, reach / Math.sin(fov / 2)));
    draw();
  }
  const fingers = new Map();
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); fingers.set(e.pointerId, { x: e.clientX, y: e.clientY }); });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (e) => fingers.delete(e.pointerId));
  canvas.addEventListener("pointermove", (e) => {
    const last = fingers.get(e.pointerId);
    if (!last) return;
    const now = { x: e.clientX, y: e.clientY }, gap = fingers.size === 2 ? spread() : 0;
    fingers.set(e.pointerId, now);
    if (fingers.size === 1) move(0.008 * (now.x - last.x), 0.008 * (now.y - last.y), 1);
    if (fingers.size === 2) move(0, 0, gap / Math.max(spread(), 1));
  });
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); move(0, 0, Math.exp(limit(e.deltaY, -200, 200) * 0.0012)); }, { passive: false });
  const KEYS = { ArrowLeft: [0.12, 0, 1], ArrowRight: [-0.12, 0, 1], ArrowUp: [0, 0.1, 1], ArrowDown: [0, -0.1, 1], "+": [0, 0, 0.9], "=": [0, 0, 0.9], "-": [0, 0, 1.1] };
  canvas.addEventListener("keydown", (e) => { if (KEYS[e.key]) { e.preventDefault(); move(...KEYS[e.key]); } });
  for (const button of root.querySelectorAll("[data-mode]")) button.addEventListener("click", () => {
    mode = Number(button.dataset.mode);
    for (const other of root.querySelectorAll("[data-mode]")) other.setAttribute("aria-pressed", String(other === button));
    draw();
  });
  root.querySelector("[data-cameras]")?.addEventListener("click", (e) => {
    cameras = !cameras;
    e.currentTarget.setAttribute("aria-pressed", String(cameras));
    view.far = cameras ? Math.max(view.far, 1.15 * reach / Math.sin(fov / 2)) : home.far;
    draw();
  });
  root.querySelector("[data-points]")?.addEventListener("click", (e) => {
    points = !points;
    e.currentTarget.setAttribute("aria-pressed", String(points));
    draw();
  });
  root.querySelector("[data-reset]").addEventListener("click", () => { view = { ...home }; idle = false; draw(); });
  new IntersectionObserver(([entry]) => { seen = entry.isIntersecting; draw(); }).observe(canvas);
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-reduced-motion: reduce)").addEventListener("change", () => { idle = false; });
})();
