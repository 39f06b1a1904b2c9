class Directory:
    async def close(self): pass
