// The faces of a page, to turn: shared by the page of an evaluation and that of a face.
const by = (id) => document.getElementById(id);
const SKIN = [0.87, 0.77, 0.71], UNKNOWN = [0.72, 0.74, 0.76];
// Colours from none to the most: blue, white-green, yellow, red.
const RAMP = [[0.19, 0.35, 0.64], [0.55, 0.78, 0.80], [0.96, 0.93, 0.66], [0.94, 0.55, 0.28],
  [0.70, 0.09, 0.15]];

function decode(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Kind(bytes.buffer);
}

function colorOf(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2), rest = place - low;
  return RAMP[low].map((value, k) => value + rest * (RAMP[low + 1][k] - value));
}

// Draws the scale of the colours into a canvas.
function drawLegend(canvas) {
  const context = canvas.getContext('2d');
  for (let x = 0; x < canvas.width; x++) {
    const share = x / (canvas.width - 1);
    context.fillStyle = `rgb(${colorOf(share).map((v) => Math.round(255 * v)).join()})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

// Colours of vertices from values stored as bytes, 255 where unknown; null: the colour of skin.
function colorsOf(values, count, perUnit, most) {
  const colors = new Float32Array(count);
  for (let i = 0; i < count / 3; i++) {
    const color = !values ? SKIN : values[i] === 255 ? UNKNOWN : colorOf(values[i] / perUnit / most);
    colors.set(color, 3 * i);
  }
  return colors;
}

// Points in mm, triangles, and normals weighted by area, of a mesh of `data`.
function unpack(mesh, data) {
  if (mesh.unpacked) return mesh.unpacked;
  const points = Float32Array.from(decode(mesh.points, Int16Array), (v) => v / data.units_per_mm);
  const triangles = decode(data.triangles[mesh.triangles], Uint16Array);
  const normals = new Float32Array(points.length);
  for (let t = 0; t < triangles.length; t += 3) {
    const [a, b, c] = [0, 1, 2].map((k) => 3 * triangles[t + k]);
    const u = [0, 1, 2].map((k) => points[b + k] - points[a + k]);
    const v = [0, 1, 2].map((k) => points[c + k] - points[a + k]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) normals[corner + k] += n[k];
  }
  mesh.unpacked = { points, triangles, normals };
  return mesh.unpacked;
}

const VERTEX = `
attribute vec3 point, normal, color;
attribute vec2 uv;
uniform mat3 turn;
uniform vec3 center;
uniform vec2 zoom;
varying vec3 seen_normal, seen_color;
varying vec2 seen_uv;
void main() {
  vec3 seen = turn * (point - center);
  seen_normal = turn * normal;
  seen_color = color;
  seen_uv = uv;
  gl_Position = vec4(seen.xy * zoom, -seen.z / 400.0, 1.0);
}`;
// A texture holds the light of its photos already, so it gets half of ours. The inside is dark.
const FRAGMENT = `
precision mediump float;
uniform float textured;
uniform sampler2D picture;
varying vec3 seen_normal, seen_color;
varying vec2 seen_uv;
void main() {
  vec3 n = normalize(seen_normal);
  float light = 0.30 + 0.50 * max(dot(n, normalize(vec3(0.0, 0.3, 1.0))), 0.0)
    + 0.25 * max(dot(n, normalize(vec3(-0.8, 0.5, 0.4))), 0.0)
    + 0.10 * max(dot(n, normalize(vec3(0.8, -0.1, 0.3))), 0.0);
  vec3 painted = texture2D(picture, seen_uv).rgb * (0.55 + 0.5 * light);
  vec3 outside = mix(seen_color * light, painted, textured);
  gl_FragColor = vec4(gl_FrontFacing ? outside : vec3(0.22, 0.20, 0.20), 1.0);
}`;

// A canvas with one mesh; `angles` {yaw, pitch, zoom} may be shared by several.
class View {
  constructor(canvas, angles, redraw, { center = [0, 0, 60], span_mm = 200 } = {}) {
    Object.assign(this, { canvas, angles, center, span_mm, count: 0, textured: false });
    this.gl = canvas.getContext('webgl', { antialias: true, preserveDrawingBuffer: true });
    if (!this.gl) {
      canvas.replaceWith('This browser draws no WebGL, so the faces cannot be shown.');
      return;
    }
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.program = program;
    this.buffers = {};
    this.indices = gl.createBuffer();
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    const gray = new Uint8Array([128, 128, 128, 255]);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, gray);
    canvas.tabIndex = 0;
    canvas.addEventListener('pointerdown', (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener('pointermove', (event) => {
      if (event.buttons) { turnBy(event.movementX / 150, event.movementY / 150); }
    });
    canvas.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (!step[event.key]) return;
      event.preventDefault();
      turnBy(...step[event.key].map((k) => k / 10));
    });
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      angles.zoom = Math.min(Math.max(angles.zoom * Math.exp(-event.deltaY / 600), 0.4), 5);
      redraw();
    }, { passive: false });
    function turnBy(yaw, pitch) {
      angles.yaw += yaw;
      angles.pitch = Math.min(Math.max(angles.pitch + pitch, -1.4), 1.4);
      redraw();
    }
  }

  // Lays an image over the mesh; uv are places [V, 2], v up.
  setTexture(image, uv) {
    if (!this.gl) return;
    const gl = this.gl;
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
      gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
    }
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    this.fill('uv', uv, 2);
  }

  // Shows what `unpack` returned, in colours [V, 3] or in the texture.
  show({ points, triangles, normals }, colors, textured = false) {
    if (!this.gl) return;
    const gl = this.gl;
    this.fill('point', points, 3);
    this.fill('normal', normals, 3);
    this.fill('color', colors, 3);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles, gl.STATIC_DRAW);
    this.count = triangles.length;
    this.textured = textured;
    this.draw();
  }

  fill(name, values, size) {
    const gl = this.gl, place = gl.getAttribLocation(this.program, name);
    this.buffers[name] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
  }

  draw() {
    if (!this.gl) return;
    const gl = this.gl, ratio = window.devicePixelRatio || 1, { yaw, pitch, zoom } = this.angles;
    const width = Math.round(this.canvas.clientWidth * ratio);
    const height = Math.round(this.canvas.clientHeight * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    const paper = getComputedStyle(document.documentElement).getPropertyValue('--stage').trim();
    const [r, g, b] = [1, 3, 5].map((k) => parseInt(paper.slice(k, k + 2), 16) / 255);
    gl.clearColor(r, g, b, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const [cy, sy] = [Math.cos(yaw), Math.sin(yaw)];
    const [cp, sp] = [Math.cos(pitch), Math.sin(pitch)];
    // Columns of the turn about y, then about x.
    const turn = [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy];
    const place = (name) => gl.getUniformLocation(this.program, name);
    gl.uniformMatrix3fv(place('turn'), false, turn);
    gl.uniform3fv(place('center'), this.center);
    gl.uniform1f(place('textured'), this.textured ? 1 : 0);
    const scale = zoom * 2 / this.span_mm;
    gl.uniform2f(place('zoom'), scale * height / width, scale);
    gl.drawElements(gl.TRIANGLES, this.count, gl.UNSIGNED_SHORT, 0);
  }
}

// Repaints when the system turns from light to dark or back.
function onThemeChange(redraw) {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
}
