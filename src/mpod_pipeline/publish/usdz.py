"""USDZ, the file that Apple's Quick Look shows in the room: made from a GLB, read, and checked.

One mesh in metres, +y up, with one UV set and one UsdPreviewSurface; in the package a binary layer first and the
textures after it, uncompressed and aligned, as ARKit wants.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.document import Document
from mpod_pipeline.geometry.glb import UNLIT
from mpod_pipeline.publish.contents import BASE_COLOUR, NORMALS, Contents, Texture, contents_of_glb

#: What ARKit reads as a texture.
SUFFIXES = {"JPEG": "jpg", "PNG": "png"}
#: Of the files within a package, seconds: 1981, as a package knows no time before 1980.
TIME = 347_155_200
#: The shader's inputs of single channels of the texture with occlusion, roughness and metalness, as glTF packs them.
CHANNELS = {"occlusion": "r", "roughness": "g", "metallic": "b"}


def to_usdz(glb: bytes) -> bytes:
    """Turn a GLB into a USDZ package for iPhones.

    Args:
        glb: The file's bytes, with one mesh and one material.

    Returns:
        The package's bytes.

    Raises:
        ProductError: It has not one mesh and one material.
    """
    from pxr import UsdUtils

    contents, document = contents_of_glb(glb), Document.unpacked(glb)
    with _folder() as folder:
        files = {}
        for number, texture in enumerate(contents.textures):
            if texture.format not in SUFFIXES:
                raise ProductError(f"Apple's viewer takes no texture of the kind {texture.format}.")
            files[texture.role] = f"texture_{number}.{SUFFIXES[texture.format]}"
            (folder / files[texture.role]).write_bytes(texture.data)
        _write_layer(folder / "model.usdc", contents, document, files)
        for path in folder.iterdir():  # the package has the files' times, and the same model shall give the same bytes
            os.utime(path, (TIME, TIME))
        if not UsdUtils.CreateNewUsdzPackage(str(folder / "model.usdc"), str(folder / "model.usdz")):
            raise ProductError("The model could not be packed as USDZ.")
        return (folder / "model.usdz").read_bytes()


def _write_layer(path: Path, contents: Contents, document: Document, files: dict[str, str]) -> None:
    from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, Vt

    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, "/product")
    Usd.ModelAPI(root).SetKind("component")
    stage.SetDefaultPrim(root.GetPrim())
    mesh = UsdGeom.Mesh.Define(stage, "/product/mesh")
    points = Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(contents.positions, np.float32))
    mesh.CreatePointsAttr(points)
    mesh.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(points))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(contents.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(contents.faces.astype(np.int32).reshape(-1)))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    (primitive,) = (each for one in document.json["meshes"] for each in one["primitives"])
    normals = document.array(primitive["attributes"]["NORMAL"]).astype(np.float32)
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(normals)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    upwards = np.ascontiguousarray(contents.uvs * [1, -1] + [0, 1], np.float32)  # USD's v grows upwards
    primvars = UsdGeom.PrimvarsAPI(mesh)
    primvar = primvars.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex)
    primvar.Set(Vt.Vec2fArray.FromNumpy(upwards))

    material = UsdShade.Material.Define(stage, "/product/material")
    surface = UsdShade.Shader.Define(stage, "/product/material/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    reader = UsdShade.Shader.Define(stage, "/product/material/uv")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    uv = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)

    def texture(name: str, role: str, colour_space: str) -> UsdShade.Shader:
        shader = UsdShade.Shader.Define(stage, f"/product/material/{name}")
        shader.CreateIdAttr("UsdUVTexture")
        shader.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(f"./{files[role]}"))
        shader.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set(colour_space)
        shader.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(uv)
        for side in ("wrapS", "wrapT"):
            shader.CreateInput(side, Sdf.ValueTypeNames.Token).Set("clamp")
        return shader

    described = document.json["materials"][0].get("pbrMetallicRoughness", {})
    if BASE_COLOUR in files and UNLIT in document.json["materials"][0].get("extensions", {}):
        # USD has no unlit material: black that glows in the texture's colours looks so
        colour = texture("base_colour", BASE_COLOUR, "sRGB").CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
        surface.CreateInput("emissiveColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(colour)
        for name in ("diffuseColor", "specularColor"):
            surface.CreateInput(name, Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(0, 0, 0))
        surface.CreateInput("useSpecularWorkflow", Sdf.ValueTypeNames.Int).Set(1)
    elif BASE_COLOUR in files:
        colour = texture("base_colour", BASE_COLOUR, "sRGB").CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
        surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(colour)
    else:
        grey = described.get("baseColorFactor", [1, 1, 1])
        surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(*grey[:3]))
    packed = "roughness and metalness"
    channels = texture("occlusion_roughness_metalness", packed, "raw") if packed in files else None
    factors = {"roughness": described.get("roughnessFactor", 1.0), "metallic": described.get("metallicFactor", 1.0)}
    for name, channel in CHANNELS.items():
        if channels and (name != "occlusion" or "occlusionTexture" in document.json["materials"][0]):
            output = channels.CreateOutput(channel, Sdf.ValueTypeNames.Float)
            surface.CreateInput(name, Sdf.ValueTypeNames.Float).ConnectToSource(output)
        elif name in factors:
            surface.CreateInput(name, Sdf.ValueTypeNames.Float).Set(float(factors[name]))
    if NORMALS in files:
        normals_map = texture("normals", NORMALS, "raw")
        normals_map.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
        normals_map.CreateInput("bias", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        bumpy = normals_map.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
        surface.CreateInput("normal", Sdf.ValueTypeNames.Normal3f).ConnectToSource(bumpy)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    stage.GetRootLayer().Save()


def contents_of_usdz(data: bytes) -> Contents:
    """Raises ProductError for a package that holds no mesh with UVs."""
    from pxr import Usd, UsdGeom, UsdShade

    with _opened(data) as (path, stage):
        parts = []
        for prim in stage.Traverse():
            if prim.IsA(UsdGeom.Mesh):
                mesh = UsdGeom.Mesh(prim)
                uvs = UsdGeom.PrimvarsAPI(prim).GetPrimvar("st").Get()
                corners = mesh.GetFaceVertexIndicesAttr().Get()
                if uvs is None or corners is None or len(corners) % 3:
                    raise ProductError("The USDZ holds a mesh that has no UVs, or is not of triangles.")
                to_world = np.array(UsdGeom.XformCache(Usd.TimeCode.Default()).GetLocalToWorldTransform(prim))
                points = np.column_stack([mesh.GetPointsAttr().Get(), np.ones(len(mesh.GetPointsAttr().Get()))])
                parts.append(((points @ to_world)[:, :3], np.array(corners).reshape(-1, 3), np.array(uvs)))
        if not parts:
            raise ProductError("The USDZ holds no mesh.")
        materials = sum(prim.IsA(UsdShade.Material) for prim in stage.Traverse())
        starts = np.cumsum([0, *(len(points) for points, _, _ in parts)])
        faces = np.concatenate([faces + start for (_, faces, _), start in zip(parts, starts, strict=False)])
        points, uvs = (np.concatenate([part[i] for part in parts]) for i in (0, 2))
        return Contents(
            size=len(data),
            positions=(points * UsdGeom.GetStageMetersPerUnit(stage)).astype(np.float32),
            faces=faces.astype(np.int64),
            uvs=(uvs * [1, -1] + [0, 1]).astype(np.float32),
            textures=tuple(_textures(path, stage)),
            materials=materials,
        )


def _textures(path: Path, stage: Any) -> Iterator[Texture]:
    from pxr import UsdShade

    with zipfile.ZipFile(path) as package:
        entries = {Path(name).name: name for name in package.namelist()}
        for prim in stage.Traverse():
            shader = UsdShade.Shader(prim)
            if shader and shader.GetIdAttr().Get() == "UsdUVTexture":
                name = Path(shader.GetInput("file").Get().path).name
                yield Texture.of(prim.GetName().replace("_", " "), package.read(entries[name]))


def what_arkit_would_say(data: bytes) -> list[str]:
    """A sentence for each of ARKit's demands that a package does not meet, and for all that OpenUSD's validators find,
    which are those of ``usdchecker``.
    """
    from pxr import UsdGeom, UsdShade, UsdValidation

    with _opened(data) as (path, stage):
        found = []
        with zipfile.ZipFile(path) as package:
            entries = package.infolist()
        if not entries[0].filename.endswith(".usdc"):
            found.append("The USDZ does not begin with a binary layer (.usdc).")
        for entry in entries:
            start = entry.header_offset + 30 + len(entry.filename.encode()) + len(entry.extra)
            if entry.compress_type != zipfile.ZIP_STORED or start % 64:
                found.append(f"{entry.filename} in the USDZ is compressed or not aligned to 64 bytes.")
        if UsdGeom.GetStageUpAxis(stage) != UsdGeom.Tokens.y or UsdGeom.GetStageMetersPerUnit(stage) != 1.0:
            found.append("The USDZ is not in metres with +y up.")
        for prim in stage.Traverse():
            shader = UsdShade.Shader(prim)
            if shader and not str(shader.GetIdAttr().Get()).startswith(("UsdPreviewSurface", "UsdUVTex", "UsdPrimvar")):
                found.append(f"The USDZ has a shader that Quick Look does not know ({shader.GetIdAttr().Get()}).")
            sets = UsdGeom.PrimvarsAPI(prim).GetPrimvars() if prim.IsA(UsdGeom.Mesh) else []
            if sum(str(each.GetTypeName()).startswith("texCoord") for each in sets) > 1:
                found.append("The USDZ has more than one UV set.")
        validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
        errors = UsdValidation.ValidationContext(validators).Validate(stage)
        found += [f"OpenUSD's validators say: {error.GetMessage()}" for error in errors]
        return found


@contextmanager
def _opened(data: bytes) -> Iterator[tuple[Path, Any]]:
    from pxr import Tf, Usd

    with _folder() as folder:
        path = folder / "model.usdz"
        path.write_bytes(data)
        try:
            yield path, Usd.Stage.Open(str(path))
        except (Tf.ErrorException, zipfile.BadZipFile) as error:
            raise ProductError("The file is no USDZ that can be opened.") from error


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mpod_usdz_") as folder:
        yield Path(folder)
